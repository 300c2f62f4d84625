"""Tables 1-3 of the paper: RMSE, FID and SCC by data set, method and rate."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench.report.groups import Group, short, spelled
from bench.report.layout import Column, Entry, Line, Row, Table, about, dataset_order, lines_of, number
from bench.report.metrics import Score
from bench.report.published import MECHANISM, Published
from bench.report.significance import FEWEST_SEEDS, Verdict, against_best
from bench.store.results import Result

FLOOR = "complete training images (floor)"
EMPTY = Entry("")
NOT_RUN = Entry(notes=("not run",))
NOT_PUBLISHED = Entry(notes=("the paper has no such number",))


class ScoreTable:
    """Builds one of Tables 1-3 from one group of results.

    Args:
        paper: gives the order of the rows, and the numbers beside ours where `compare` is set and the
            group's pixels went missing as the paper's did and it has any of these.
    """

    def __init__(self, group: Group, paper: Published, compare: bool, score: Score) -> None:
        self.group, self.paper, self.score = group, paper, score
        self.rates = sorted({result.cell.rate for result in group.results})
        self.compare = compare and group.mechanism == MECHANISM and self._has_published()
        self.incomparable = compare and not self.compare
        self.blocks = lines_of(group, paper, score.name if self.compare else "")
        lines = [line for block in self.blocks for line in block]
        values = [self._values(line.at(rate)) for line in lines for rate in self.rates]
        self.seed_counts = {len(found) for found in values if found}
        self.ours = {(line, rate): self._entry(line, rate) for line in lines for rate in self.rates}
        self.verdicts: list[Verdict] = []
        self.incomplete = False
        for dataset in dataset_order(group, paper):
            for rate in self.rates:
                self._mark_best([(line, rate) for line in lines if line.dataset == dataset])

    def build(self) -> Table:
        following = [*self.blocks[1:], []]
        blocks = tuple(
            self._rows(lines, last=not below or below[0].dataset != lines[0].dataset)
            for lines, below in zip(self.blocks, following, strict=True)
        )
        return Table(
            number=self.score.number,
            name=self.score.file_name,
            title=self.score.title,
            columns=self._columns(),
            blocks=blocks,
            about=about(self.group, self.paper),
            caption=tuple(self._caption()),
        )

    def _columns(self) -> tuple[Column, ...]:
        heads = [f"{rate:g}" for rate in self.rates]
        if not self.compare:
            return tuple(Column(head) for head in heads)
        subs = ("ours", "ratio", "paper's") if self.score.ratio else ("ours", "paper", "deviation")
        return tuple(Column(head, sub) for head in heads for sub in subs)

    def _rows(self, lines: list[Line], last: bool) -> tuple[Row, ...]:
        rows = []
        for line in lines:
            entries = [
                entry for rate in self.rates for entry in (self.ours[line, rate], *self._beside(line, rate))
            ]
            rows.append(line.row(self.group, entries))
        if last and self.score.name == "fid":
            floors = tuple(self._floors(lines[0].dataset))
            rows.append(replace(rows[0], method=FLOOR, settings="", entries=floors))
        return tuple(rows)

    def _values(self, results: Sequence[Result]) -> list[float]:
        values = (result.metric(self.score.name).value for result in results)
        return [value for value in values if value is not None]

    def _entry(self, line: Line, rate: float) -> Entry:
        """Our number: the mean over seeds, or a dash; a note for each seed that has none."""
        results = line.at(rate)
        if not results:
            return NOT_RUN
        values = self._values(results)
        without = [result for result in results if result.metric(self.score.name).value is None]
        notes = tuple(
            (f"seed {result.cell.seed}: " if values else "") + result.metric(self.score.name).reason
            for result in without
        )
        if not values:
            return Entry(notes=notes)
        early = (result for result in results if result.ok and result.stopped)
        notes += tuple(f"seed {result.cell.seed}: the fit ended early, {result.stopped}" for result in early)
        mean = statistics.fmean(values)
        spread = statistics.stdev(values) if len(values) > 1 else None
        # A deviation has its mean's decimals: 0.1541 ± 3.47e-05 reads as a large one.
        rounded = spread if spread is None or "e" in number(mean) else round(spread, 4)
        text = number(mean) if rounded is None else f"{number(mean)} ± {number(rounded)}"
        if len(self.seed_counts) > 1:
            text += f" ({len(values)})"
        return Entry(text, mean, spread, len(values), notes=notes)

    def _mark_best(self, places: list[tuple[Line, float]]) -> None:
        """Mark the best of two or more, whatever prints as the same number, and what a test ties with it.

        Nothing is marked where a method of ours has no number: it might have been the best.
        """
        values = {place: value for place in places if (value := self.ours[place].value) is not None}
        if len(values) < 2 or self.score.lower_is_better is None:
            return
        if any(line.results and (line, rate) not in values for line, rate in places):
            self.incomplete = True
            return
        best = (min if self.score.lower_is_better else max)(values, key=values.__getitem__)
        others = [line for line, _ in values if line is not best[0]]
        verdict = against_best(best[0], others, best[1], self.score)
        self.verdicts.append(verdict)
        for place, value in values.items():
            if place[0] in verdict.tied or number(value) == number(values[best]):
                self.ours[place] = replace(self.ours[place], best=True)

    def _has_published(self) -> bool:
        """Whether the paper has any number to set beside ours."""
        datasets = {result.cell.dataset for result in self.group.results}
        return any(
            metric == self.score.name and dataset in datasets and rate in self.rates
            for metric, dataset, _, rate in self.paper.values
        )

    def _published(self, line: Line, rate: float) -> float | None:
        """The paper's number; a variant of ours with other settings has no counterpart there."""
        if line.settings:
            return None
        return self.paper.value(self.score.name, line.dataset, line.method, rate)

    def _beside(self, line: Line, rate: float) -> list[Entry]:
        """What stands beside our number when comparing with the paper."""
        if not self.compare:
            return []
        ours, theirs = self.ours[line, rate].value, self._published(line, rate)
        if self.score.ratio:
            best_ours, best_theirs = self._best_of_both(line.dataset, rate)
            return [_ratio(ours, best_ours), NOT_PUBLISHED if theirs is None else _ratio(theirs, best_theirs)]
        if theirs is None:
            return [NOT_PUBLISHED, EMPTY]
        deviation = EMPTY if ours is None else Entry(f"{ours - theirs:+.4f}", ours - theirs)
        return [Entry(number(theirs), theirs), deviation]

    def _best_of_both(self, dataset: str, rate: float) -> tuple[float | None, float | None]:
        """The best of ours and the best of the paper's, among the methods that both have."""
        both = [
            (ours.value, theirs)
            for (line, at), ours in self.ours.items()
            if line.dataset == dataset and at == rate and ours.value is not None
            if (theirs := self._published(line, rate)) is not None
        ]
        return (min(ours for ours, _ in both), min(theirs for _, theirs in both)) if both else (None, None)

    def _floors(self, dataset: str) -> list[Entry]:
        """FID(complete test, complete training images), the mean over what the results recorded."""
        entries = []
        for rate in self.rates:
            metrics = [
                result.metric("fid") for result in self.group.of_dataset(dataset) if result.cell.rate == rate
            ]
            floors = [metric.floor for metric in metrics if metric.floor is not None]
            if floors:
                mean = statistics.fmean(floors)
                entries.append(Entry(number(mean), mean))
            else:
                reasons = dict.fromkeys(
                    metric.reason or metric.floor_reason or "not recorded" for metric in metrics
                )
                entries.append(Entry(notes=tuple(reasons)) if reasons else NOT_RUN)
            entries += [EMPTY, EMPTY] if self.compare else []
        return entries

    def _caption(self) -> list[str]:
        lines = [self._seeds()]
        lines += self._bold()
        datasets = [block[0].dataset for block in self.blocks]
        if len(datasets) > len(set(datasets)):
            lines.append("Baselines are in a block of their own below the other methods of a data set.")
        lines += self._judges()
        if self.score.name == "fid":
            lines.append(
                "Floor: the FID of the complete training images, so of images that are new. Imputations keep "
                "the observed pixels of the test images themselves, and may come below it."
            )
        if self.incomparable and self.group.mechanism != MECHANISM:
            lines.append(
                f"The paper's pixels went missing by {MECHANISM}: it has no numbers to compare with here."
            )
        elif self.incomparable:
            lines.append("The paper has no numbers of these data sets and rates to compare with.")
        elif self.compare and self.score.ratio:
            lines.append(
                "An FID's scale is its judge's, so ours compare with the paper's as ratios only. Ratio: over "
                "the best of ours among the methods that the paper has too; paper's: the same of its numbers."
            )
        elif self.compare:
            lines.append("Paper: the numbers published with PRFlow. Deviation: ours minus the paper's.")
        return lines

    def _bold(self) -> list[str]:
        """What bold means, and by which test."""
        tested, untested = (
            sum(getattr(one, name) for one in self.verdicts) for name in ("tested", "untested")
        )
        partial = ["Nothing is bold for a data set and rate where a method has no number."] * self.incomplete
        if not self.verdicts:
            return partial
        bold = "Bold: the best mean for each data set and rate, or equal as printed"
        if not tested:
            return [f"{bold}; no test is behind it, since {_why_untested(self.seed_counts)}.", *partial]
        over = "seeds" if self.score.ratio else "test images and seeds, both random effects,"
        line = (
            f"{bold}, and all that a paired two-sided test over {over} cannot tell from it at 5 %, "
            "corrected for all pairs of methods."
        )
        if untested:
            line += f" For want of shared seeds or of scores of single images, {untested} were not compared."
        return [line, *partial]

    def _seeds(self) -> str:
        seeds = sorted({result.cell.seed for result in self.group.results})
        listed = ", ".join(str(seed) for seed in seeds)
        if len(seeds) == 1:
            return f"One seed: {listed}."
        if self.seed_counts == {1}:
            return f"One seed each, of {listed}."
        if len(self.seed_counts) == 1:
            return f"Mean ± standard deviation over {min(self.seed_counts)} seeds, of {listed}."
        return (
            "Mean ± standard deviation over the seeds that each method has, their number in brackets, "
            f"of {listed}."
        )

    def _judges(self) -> list[str]:
        judges = []
        for dataset in dataset_order(self.group, self.paper):
            results = self.group.of_dataset(dataset)
            metrics = [metric for result in results if (metric := result.metrics.get(self.score.name))]
            named = [metric for metric in metrics if metric.judge]
            if named:
                facts = [f"weights {short(named[0].weights)}"] if named[0].weights else []
                right = [scc.accuracy_complete for result in results if (scc := result.metrics.get("scc"))]
                if right and right[0] is not None:
                    facts.append(f"right on {right[0]:.1%} of the complete test images")
                known = f" ({', '.join(facts)})" if facts else ""
                judges.append(f"{spelled('dataset', dataset, self.group.results)}: {named[0].judge}{known}")
        return [f"Judges: {'; '.join(judges)}."] if judges else []


def _why_untested(seed_counts: set[int]) -> str:
    if max(seed_counts) < FEWEST_SEEDS:
        return "it takes three seeds"
    return "scores of single images are not stored for three shared seeds"


def _ratio(value: float | None, best: float | None) -> Entry:
    return Entry(f"{value / best:.2f}", value / best) if value is not None and best else EMPTY
