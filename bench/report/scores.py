"""Tables 1-3 of the paper: RMSE, FID and SCC by data set, method and rate."""

from __future__ import annotations

import statistics
from dataclasses import replace

from bench.report.groups import Group, short
from bench.report.layout import Column, Entry, Line, Row, Table, about, dataset_order, lines_of, number
from bench.report.metrics import Score
from bench.report.published import MECHANISM, prflow_paper
from bench.report.significance import FEWEST_SEEDS, Verdict, against_best

FLOOR = "complete training images (floor)"
EMPTY = Entry("")
NOT_RUN = Entry(notes=("not run",))
NOT_PUBLISHED = Entry(notes=("the paper has no such number",))


class ScoreTable:
    """Builds the table of one metric from one group of results.

    Args:
        compare: set the paper's numbers beside ours, if the paper has any for this mechanism, these data
            sets and these rates.
    """

    def __init__(self, group: Group, compare: bool, score: Score) -> None:
        self.group, self.score = group, score
        self.compare = compare and group.mechanism == MECHANISM and self._has_published()
        self.incomparable = compare and not self.compare
        self.blocks = lines_of(group, score.name if self.compare else "")
        self.seed_counts = {len(mean.values) for key, mean in group.means.items() if key[0] == score.name}
        lines = [line for block in self.blocks for line in block]
        self.ours = {(line, rate): self._entry(line, rate) for line in lines for rate in group.rates}
        self.verdicts: list[Verdict] = []
        self.incomplete = False
        for dataset in dataset_order(group):
            for rate in group.rates:
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
            title=f"{self.score.title}{self.score.direction}",
            columns=self._columns(),
            blocks=blocks,
            about=about(self.group),
            caption=tuple(self._caption()),
        )

    def _columns(self) -> tuple[Column, ...]:
        heads = [f"{rate:g}" for rate in self.group.rates]
        if not self.compare:
            return tuple(Column(head) for head in heads)
        subs = ("ours", "ratio", "paper's") if self.score.ratio else ("ours", "paper", "deviation")
        return tuple(Column(head, sub) for head in heads for sub in subs)

    def _rows(self, lines: list[Line], last: bool) -> tuple[Row, ...]:
        rows = []
        for line in lines:
            pairs = [(self.ours[line, rate], *self._beside(line, rate)) for rate in self.group.rates]
            rows.append(line.row(self.group, [entry for pair in pairs for entry in pair]))
        if last and self.score.name == "fid":
            floors = tuple(self._floors(lines[0].dataset))
            rows.append(replace(rows[0], method=FLOOR, settings="", entries=floors))
        return tuple(rows)

    def _entry(self, line: Line, rate: float) -> Entry:
        """Our number: the mean over seeds, or a dash. A note explains each seed without a number."""
        results = line.at(rate)
        if not results:
            return NOT_RUN
        mean = self.group.means.get((self.score.name, *line.key, rate))
        told = ((result.cell.seed, result.metric(self.score.name)) for result in results)
        without = [(seed, metric.reason) for seed, metric in told if metric.value is None]
        if mean is None:
            return Entry(notes=tuple(reason for _, reason in without))
        early = [
            (result.cell.seed, f"the fit ended early, {result.stopped}")
            for result in results
            if result.ok and result.stopped
        ]
        others = [(result.cell.seed, result.company) for result in results if result.ok and result.company]
        notes = tuple(f"seed {seed}: {why}" for seed, why in [*without, *early, *others])
        text = number(mean.value)
        if mean.spread is not None:
            # A deviation has its mean's decimals: 0.1541 ± 3.47e-05 reads as a large one.
            text += f" ± {number(mean.spread if 'e' in text else round(mean.spread, 4))}"
        if len(self.seed_counts) > 1:
            text += f" ({len(mean.values)})"
        return Entry(text, mean.value, mean.spread, len(mean.values), notes=notes)

    def _mark_best(self, places: list[tuple[Line, float]]) -> None:
        """Mark the best of two or more numbers, those printed alike, and those that the test ties with it.

        If a method that was run has no number, nothing is marked: that method might have been the best.
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
            metric == self.score.name and dataset in datasets and rate in self.group.rates
            for metric, dataset, _, rate in prflow_paper().values
        )

    def _published(self, line: Line, rate: float) -> float | None:
        """The paper's number; None for a method with other settings, which the paper does not have."""
        if line.settings:
            return None
        return prflow_paper().value(self.score.name, line.dataset, line.method, rate)

    def _beside(self, line: Line, rate: float) -> list[Entry]:
        """The entries beside our number in a comparison with the paper."""
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
        """Our lowest and the paper's lowest number, among the methods for which both are known."""
        both = [
            (ours.value, theirs)
            for (line, at), ours in self.ours.items()
            if line.dataset == dataset and at == rate and ours.value is not None
            if (theirs := self._published(line, rate)) is not None
        ]
        return (min(ours for ours, _ in both), min(theirs for _, theirs in both)) if both else (None, None)

    def _floors(self, dataset: str) -> list[Entry]:
        """FID(complete test images, complete training images), the mean of what the results recorded."""
        frame = self.group.frame
        rows = frame[(frame["metric"] == "fid") & (frame["dataset"] == dataset)]
        entries = []
        for rate in self.group.rates:
            here = rows[rows["rate"] == rate]
            floors = here["floor"].dropna()
            if len(floors):
                mean = statistics.fmean(floors)
                entries.append(Entry(number(mean), mean))
            else:
                why = here["reason"].where(here["reason"] != "", here["floor_reason"])
                reasons = why.replace("", "not recorded").unique()
                entries.append(Entry(notes=tuple(reasons)) if len(reasons) else NOT_RUN)
            entries += [EMPTY, EMPTY] if self.compare else []
        return entries

    def _caption(self) -> list[str]:
        lines = [self._seeds()]
        lines += self._bold()
        datasets = [block[0].dataset for block in self.blocks]
        if len(datasets) > len(set(datasets)):
            lines.append("Baselines stand in a block of their own below the other methods of a data set.")
        lines += self._judges()
        if self.score.name == "fid":
            lines.append(
                "Floor: the FID between the complete training images and the complete test images. Imputed "
                "images keep the observed pixels of the test images, so their FID can be below the floor."
            )
        if self.incomparable and self.group.mechanism != MECHANISM:
            lines.append(f"The paper has no numbers to compare with here: all of its own are of {MECHANISM}.")
        elif self.incomparable:
            lines.append("The paper has no numbers for these data sets and rates.")
        elif self.compare and self.score.ratio:
            lines.append(
                "The scale of an FID depends on its judge. The paper's judge is another one, so only ratios "
                "can be compared. Ratio: our FID divided by our lowest. Paper's: the paper's FID divided by "
                "the paper's lowest. Lowest: among the methods for which both FIDs are known."
            )
        elif self.compare:
            lines.append("Paper: the number in the PRFlow paper. Deviation: our number minus the paper's.")
        return lines

    def _bold(self) -> list[str]:
        """What bold means, and by which test."""
        tested = sum(one.tested for one in self.verdicts)
        untested = sum(one.untested for one in self.verdicts)
        partial = [
            "Nothing is bold for a data set and rate if a method that was run there has no number: it might "
            "have been the best."
        ] * self.incomplete
        if not self.verdicts:
            return partial
        bold = "Bold: the best mean for each data set and rate, and any mean printed as the same number"
        if not tested:
            return [f"{bold}.", _why_untested(self.seed_counts), *partial]
        over = "seeds" if self.score.ratio else "test images and seeds, both as random effects"
        lines = [
            f"{bold}, and all methods that a test cannot tell from the best one.",
            f"The test: paired and two-sided, over {over}, at 5 %, corrected for all pairs of methods.",
        ]
        if untested:
            lines.append(
                f"Comparisons that could not be made: {untested}. They lack three shared seeds or the scores "
                "of single images."
            )
        return [*lines, *partial]

    def _seeds(self) -> str:
        seeds = sorted({result.cell.seed for result in self.group.results})
        listed = ", ".join(str(seed) for seed in seeds)
        if len(seeds) == 1:
            return f"One seed: {listed}."
        if self.seed_counts == {1}:
            return f"One seed for each method, out of {listed}."
        if len(self.seed_counts) == 1:
            return f"Mean ± standard deviation over {min(self.seed_counts)} seeds, out of {listed}."
        return (
            "Mean ± standard deviation over the seeds that each method has; their number is in brackets. The "
            f"seeds: {listed}."
        )

    def _judges(self) -> list[str]:
        judges = []
        for dataset in dataset_order(self.group):
            results = self.group.of_dataset(dataset)
            metrics = [metric for result in results if (metric := result.metrics.get(self.score.name))]
            named = [metric for metric in metrics if metric.judge]
            if named:
                facts = [f"weights {short(named[0].weights)}"] if named[0].weights else []
                right = [scc.accuracy_complete for result in results if (scc := result.metrics.get("scc"))]
                if right and right[0] is not None:
                    facts.append(f"right on {right[0]:.1%} of the complete test images")
                known = f" ({', '.join(facts)})" if facts else ""
                judges.append(f"{self.group.spelled('dataset', dataset)}: {named[0].judge}{known}")
        return [f"Judges: {'; '.join(judges)}."] if judges else []


def _why_untested(seed_counts: set[int]) -> str:
    if max(seed_counts) < FEWEST_SEEDS:
        return "No test was made: it needs three seeds."
    return "No test was made: it needs three shared seeds and their scores of single images."


def _ratio(value: float | None, best: float | None) -> Entry:
    return Entry(f"{value / best:.2f}", value / best) if value is not None and best else EMPTY
