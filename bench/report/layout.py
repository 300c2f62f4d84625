"""What a table is, in every format: rows of data set and method, columns, entries, notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.datasets import BUILT_IN
from bench.report.groups import Group, count, short
from bench.report.published import prflow_paper
from bench.store.results import Result

DASH = "–"
LONGEST_SETTINGS = 40
"""In letters. Longer settings would take the room of a table or figure, so they are explained below it."""


@dataclass(frozen=True)
class Column:
    """A column of numbers: its heading, and a second heading below it; "" if there is no second one."""

    head: str
    sub: str = ""


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a table.

    Attributes:
        text: the number as printed, with its spread; a dash if there is no number.
        value: the number itself, the mean over seeds.
        spread: the standard deviation over seeds; None with fewer than two.
        seeds: how many seeds; 0 for a number that does not depend on seeds.
        notes: sentences below the table that explain the entry.
    """

    text: str = DASH
    value: float | None = None
    spread: float | None = None
    seeds: int = 0
    best: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One method on one data set, names spelled for a reader.

    Attributes:
        settings: those that differ from the preset's; "" if none does.
        dataset_notes: notes about the data set, the same in all of its rows.
    """

    dataset: str
    method: str
    settings: str
    entries: tuple[Entry, ...]
    dataset_notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The method as the table names it, with its settings unless a note holds them."""
        return _label(self.method, "" if self.method_notes else self.settings)

    @property
    def method_notes(self) -> tuple[str, ...]:
        """Settings too long for the table."""
        return (f"settings: {self.settings}",) if len(self.settings) > LONGEST_SETTINGS else ()


@dataclass(frozen=True)
class Table:
    """One table, ready for any format.

    Attributes:
        number: as in the paper, from 1.
        name: a short name for files.
        about: sentences that hold for all tables of a group: preset, mechanism, sizes, remarks.
        caption: sentences that say what these numbers are.
        blocks: the rows, data set by data set; the baselines of each in a block of their own.
    """

    number: int
    name: str
    title: str
    columns: tuple[Column, ...]
    blocks: tuple[tuple[Row, ...], ...]
    about: tuple[str, ...]
    caption: tuple[str, ...]

    @property
    def heading(self) -> str:
        return f"Table {self.number}: {self.title}"

    @property
    def sections(self) -> list[tuple[tuple[Row, ...], bool]]:
        """The blocks, each with whether it continues the data set of the block above it."""
        before = ["", *(block[0].dataset for block in self.blocks)]
        return [(block, block[0].dataset == above) for block, above in zip(self.blocks, before, strict=False)]

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """The distinct notes in the order in which a reader meets them; the first is number 1."""
        met: dict[str, None] = {}
        for block in self.blocks:
            for row in block:
                met.update(dict.fromkeys([*row.dataset_notes, *row.method_notes]))
                for entry in row.entries:
                    met.update(dict.fromkeys(entry.notes))
        return tuple(met)

    def marks(self, notes: Sequence[str]) -> tuple[int, ...]:
        """The numbers of some of the notes, ascending."""
        return tuple(sorted(self.notes.index(note) + 1 for note in set(notes)))


@dataclass(frozen=True, eq=False)
class Line:
    """The results of one row: one method with one set of settings on one data set. No two are equal."""

    dataset: str
    method: str
    settings: str
    results: tuple[Result, ...]

    def at(self, rate: float) -> list[Result]:
        return [result for result in self.results if result.cell.rate == rate]

    @property
    def key(self) -> tuple[str, str, str]:
        """What `LINE` names, as in the index of a grouped table."""
        return self.dataset, self.method, self.settings

    @property
    def baseline(self) -> bool:
        return any(result.display.baseline for result in self.results)

    def label(self, group: Group) -> str:
        """The method's spelling, with the settings that differ from the preset's."""
        return _label(group.spelled("method", self.method), self.settings)

    def row(self, group: Group, entries: Iterable[Entry]) -> Row:
        """The row of this line."""
        return Row(
            group.spelled("dataset", self.dataset),
            group.spelled("method", self.method),
            self.settings,
            tuple(entries),
            _unofficial(group.of_dataset(self.dataset)),
        )


def pieces(table: Table, fits: Callable[[Sequence[int]], bool]) -> list[list[int]]:
    """Cuts a wide table into as few pieces as fit. Each is the positions of the columns under some headings.

    Args:
        fits: whether a piece with these columns is narrow enough. A piece of one heading is never cut.
    """
    heads = list(dict.fromkeys(column.head for column in table.columns))
    for size in range(len(heads), 0, -1):
        chunks = [heads[start : start + size] for start in range(0, len(heads), size)]
        found = [[at for at, column in enumerate(table.columns) if column.head in chunk] for chunk in chunks]
        if size == 1 or all(fits(piece) for piece in found):
            return found
    return []


def number(value: float) -> str:
    """Four decimals, as in the paper; a power of ten for numbers that four decimals do not show well."""
    return f"{value:.2e}" if value and not 5e-5 <= abs(value) < 1e5 else f"{value:.4f}"


def dataset_order(group: Group) -> list[str]:
    """The group's data sets: the paper's first, in its order, then the others by name."""
    found = {result.cell.dataset for result in group.results}
    return sorted(found, key=lambda dataset: _rank(dataset, prflow_paper().datasets))


def lines_of(group: Group, published_metric: str = "") -> list[list[Line]]:
    """The rows of each data set in one block, or two where there are baselines beside other methods.

    The paper's methods come first, in its order, then the others by name.

    Args:
        published_metric: if the paper has this metric for the data set at one of the group's rates, the
            paper's methods have a row even if they have no results.
    """
    paper = prflow_paper()
    blocks = []
    for dataset in dataset_order(group):
        results = group.of_dataset(dataset)
        found: dict[tuple[str, str], list[Result]] = {}
        for result in results:
            found.setdefault((result.cell.method, result.settings_label), []).append(result)
        keys = found.keys() | {
            (method, "")
            for metric, of, method, rate in paper.values
            if metric == published_metric and of == dataset and rate in group.rates
        }
        ordered = sorted(keys, key=lambda key: (_rank(key[0], paper.methods), key[1]))
        lines = [Line(dataset, *key, tuple(found.get(key, ()))) for key in ordered]
        parts = ([line for line in lines if line.baseline is kind] for kind in (False, True))
        blocks += [part for part in parts if part]
    return blocks


def all_lines(group: Group) -> list[Line]:
    """The rows of `lines_of`, without their blocks."""
    return [line for block in lines_of(group) for line in block]


def kinds_of(group: Group) -> dict[tuple[str, str], bool]:
    """Every method and its settings, and whether it is a baseline; baselines come last."""
    lines = all_lines(group)
    keys = {(line.method, line.settings): line.baseline for line in lines}
    order = sorted(keys, key=lambda key: (keys[key], _rank(key[0], prflow_paper().methods), key[1]))
    return {key: keys[key] for key in order}


def about(group: Group) -> tuple[str, ...]:
    """Sentences that hold for all tables of a group: preset, mechanism, numbers of images, remarks."""
    parts = []
    for dataset in dataset_order(group):
        results = group.of_dataset(dataset)
        train = next((one.problem.train for one in results if one.problem.train is not None), None)
        test = next((one.problem.test for one in results if one.problem.test is not None), None)
        label = group.spelled("dataset", dataset)
        parts.append(f"{label}: {count(train)} training and {count(test)} test images")
    return (f"{group.title}.", "; ".join(parts) + ".", *group.remarks)


def _label(method: str, settings: str) -> str:
    return f"{method} ({settings})" if settings else method


def _rank(name: str, spellings: Mapping[str, str]) -> tuple[int, str]:
    """What sorts the paper's own first, in its order, and the others by name."""
    order = [*spellings]
    return (order.index(name) if name in order else len(order), name)


def _unofficial(results: Sequence[Result]) -> tuple[str, ...]:
    # A user's own images cannot differ from published ones.
    if results[0].cell.dataset not in BUILT_IN or all(one.problem.official is not False for one in results):
        return ()
    found = next((result.problem.fingerprint for result in results if result.problem.fingerprint), None)
    return (f"these pixels are not the published ones (fingerprint {short(found) or 'not recorded'})",)
