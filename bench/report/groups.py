"""Which results may stand in one table: of one mechanism and preset, and one problem and judge a data set."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import pandas as pd

from bench.report.means import Means, means
from bench.report.published import prflow_paper
from bench.store.frame import cells, tidy
from bench.store.results import Metric, Result
from bench.util.text import clean

Kind = Literal["dataset", "method"]


@dataclass(frozen=True)
class Group:
    """Results that can be compared, data set by data set.

    Attributes:
        part, parts: this is group `part` of `parts` with this mechanism and preset. There are several when a
            data set was measured on several problems or by several judges.
        remarks: what a reader must know before comparing, a line each.
    """

    mechanism: str
    preset: str
    results: tuple[Result, ...]
    part: int = 1
    parts: int = 1
    remarks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        part = f", part {self.part} of {self.parts}" if self.parts > 1 else ""
        return f"Preset {self.preset}, mechanism {self.mechanism}{part}"

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The results as `bench.store.frame.tidy` makes them."""
        return tidy(self.results)

    @cached_property
    def means(self) -> Means:
        """The mean over seeds of each metric, method and rate."""
        return means(self.frame)

    @cached_property
    def rates(self) -> list[float]:
        """The rates of the results, ascending."""
        return sorted({result.cell.rate for result in self.results})

    @cached_property
    def _spellings(self) -> dict[tuple[Kind, str], str]:
        """How the results' data sets and methods are spelled. A page asks once for each of its cells."""
        kinds: tuple[Kind, ...] = ("dataset", "method")
        names = {(kind, getattr(one.cell, kind)) for kind in kinds for one in self.results}
        return {(kind, name): spelled(kind, name, self.results) for kind, name in names}

    def spelled(self, kind: Kind, name: str) -> str:
        """How a data set or method is spelled in this group: see the function `spelled`."""
        return self._spellings.get((kind, name)) or spelled(kind, name, self.results)

    def of_dataset(self, dataset: str) -> list[Result]:
        return [result for result in self.results if result.cell.dataset == dataset]


@dataclass
class _Variant:
    """One problem and judge of a data set: what its results agree on; None for what none of them records."""

    signature: list[str | int | None]
    results: list[Result] = field(default_factory=list)

    def takes(self, signature: list[str | int | None]) -> bool:
        pairs = zip(self.signature, signature, strict=True)
        return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)

    def add(self, result: Result, signature: list[str | int | None]) -> None:
        pairs = zip(self.signature, signature, strict=True)
        self.signature = [theirs if mine is None else mine for mine, theirs in pairs]
        self.results.append(result)

    @property
    def description(self) -> str:
        fingerprint, train, test, judge, weights = self.signature
        parts = [f"{count(train)} training and {count(test)} test images", short(fingerprint)]
        return ", ".join(str(part) for part in [*parts, judge, short(weights)] if part)


def spelled(kind: Kind, name: str, results: Iterable[Result] = ()) -> str:
    """How a data set or method is spelled: as its results say, else as the paper spells it, else its name.

    If another data set or method of the results is spelled the same, both get their names in brackets. A
    spelling of the paper belongs to the paper's own data set or method: only another one gets brackets.
    """
    paper = prflow_paper().datasets if kind == "dataset" else prflow_paper().methods
    said = {name: ""}
    for result in results:
        own = getattr(result.cell, kind)
        said[own] = said.get(own) or getattr(result.display, kind)
    labels = {own: spelling or paper.get(own, own) for own, spelling in said.items()}
    label = labels[name]
    owner = next((own for own, spelling in paper.items() if spelling == label), None)
    if owner is None:
        taken = label != name and sum(one == label for one in labels.values()) > 1
    else:
        taken = owner != name
    return f"{label} ({name})" if taken else label


def count(number: object) -> str:
    """A number of images for a reader: "60,000"; "?" if it is not recorded."""
    return f"{number:,}" if isinstance(number, int) else "?"


def short(digest: object) -> str:
    """The first letters of a hash, as many as a reader can compare by eye; "" if there is none."""
    return str(digest)[:19] if digest else ""


def group_results(results: Iterable[Result]) -> tuple[list[Group], list[str]]:
    """Sort results into groups, each of which fills one set of tables.

    Returns:
        The groups by mechanism and preset, and a line for each result that is left out because another one
        is of the same cell.
    """
    warnings: list[str] = []
    by_preset: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        by_preset[result.cell.mechanism, result.cell.preset].append(result)
    groups: list[Group] = []
    for (mechanism, preset), members in sorted(by_preset.items()):
        variants = {
            dataset: _variants([result for result in members if result.cell.dataset == dataset])
            for dataset in dict.fromkeys(result.cell.dataset for result in members)
        }
        parts = max(len(found) for found in variants.values())
        split = [
            _split_remark(dataset, found, members) for dataset, found in variants.items() if len(found) > 1
        ]
        for part in range(parts):
            own: list[Result] = []
            for found in variants.values():
                if part < len(found):
                    own += _without_repetitions(found[part].results, warnings)
            remarks = (*split, *_disagreements(own), *_code_remarks(own))
            groups.append(Group(mechanism, preset, tuple(own), part + 1, parts, remarks))
    return groups, warnings


def folder_names(groups: Iterable[Group]) -> list[str]:
    """A folder's name for every group: mechanism, preset and part, in plain characters; no two alike."""
    names: list[str] = []
    for group in groups:
        part = f"-part{group.part}" if group.parts > 1 else ""
        text = f"{group.mechanism}-{group.preset}{part}"
        plain = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:100] or "group"
        alike = sum(name == plain or name.startswith(f"{plain}-again") for name in names)
        names.append(f"{plain}-again{alike}" if alike else plain)
    return names


def _signature(result: Result) -> list[str | int | None]:
    problem = result.problem
    judged = [result.metrics[name] for name in ("fid", "scc") if name in result.metrics]
    # A metric without a value may not name its judge. Weights tell more than the name of a judge.
    one = max(judged, key=lambda metric: (metric.weights != "", metric.judge != ""), default=Metric())
    return [problem.fingerprint, problem.train, problem.test, one.judge or None, one.weights or None]


def _variants(results: list[Result]) -> list[_Variant]:
    """Split one data set's results by problem and judge, the most frequent first.

    A failed result may record less than the others. It joins the first variant that it does not contradict.
    """
    variants: list[_Variant] = []
    for result in sorted(results, key=lambda one: _signature(one).count(None)):
        signature = _signature(result)
        variant = next((known for known in variants if known.takes(signature)), None)
        if variant is None:
            variants.append(variant := _Variant(signature))
        variant.add(result, signature)
    return sorted(variants, key=lambda variant: -len(variant.results))


def _split_remark(dataset: str, variants: list[_Variant], results: list[Result]) -> str:
    listed = "; ".join(f"part {part}: {variant.description}" for part, variant in enumerate(variants, 1))
    label = spelled("dataset", dataset, results)
    why = f"{label} was measured on different problems or by different judges"
    return f"{why}. Each has its own tables ({listed})."


def _without_repetitions(results: list[Result], warnings: list[str]) -> list[Result]:
    """One result for each cell: a complete one rather than a failed one; of several, the last by path."""
    kept: dict[tuple[object, ...], Result] = {}
    for result in sorted(results, key=lambda one: (one.ok, one.path)):
        cell = result.cell
        key = (cell.method, result.settings_label, cell.rate, cell.seed)
        if key in kept:
            warnings.append(clean(f"{kept[key].path} is of the same cell as {result.path} and is left out"))
        kept[key] = result
    return sorted(kept.values(), key=lambda one: one.path)


def _disagreements(results: list[Result]) -> list[str]:
    """A line for each data set, rate and seed at which the methods did not all see the same pixels."""
    problems = cells(tidy(results)).groupby(["dataset", "rate", "seed"])["observed"].nunique()
    return [
        f"{spelled('dataset', dataset, results)} at rate {rate:g}, seed {seed}: the methods did not all see "
        "the same pixels, so these numbers cannot be compared."
        for dataset, rate, seed in problems.index[problems > 1]
    ]


def _code_remarks(results: list[Result]) -> list[str]:
    """A line for methods with numbers from several versions of their code, and one for changed checkouts.

    A result that does not record the version of its code is not counted.
    """
    done = cells(tidy(one for one in results if one.ok))
    versions = done.groupby("method")["source"].nunique()
    # Without a commit there was no checkout that could have changed.
    changed = done.loc[(done["commit"] != "") & ~done["clean"].astype(bool), "method"].unique()
    remarks = []
    if (versions > 1).any():
        listed = _listed(versions.index[versions > 1], results)
        remarks.append(
            f"Numbers from several versions of the method's code: {listed}. `bench status` names the cells."
        )
    if len(changed):
        remarks.append(f"Numbers from a checkout with uncommitted changes: {_listed(changed, results)}.")
    return remarks


def _listed(methods: Iterable[str], results: list[Result]) -> str:
    return ", ".join(sorted((spelled("method", method, results) for method in methods), key=str.lower))
