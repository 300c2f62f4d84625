"""Whether a stored result counts as a cell's: decided here, from data alone, for every command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.datasets import is_named
from bench.errors import BenchError
from bench.grid.cell import PROTOCOL, Cell
from bench.store.results import Result, upgrade
from bench.util.text import clean


@dataclass(frozen=True)
class Asked:
    """What a run asks for beside the cell.

    Attributes:
        rerun: "all" runs cells although they have a result, "failed" those whose result is a failure.
        timeout: how many seconds a fit may take; None for no limit.
        precision: "float32" or "bfloat16"; looked at only if the user asked for one.
    """

    rerun: Literal["all", "failed"] | None = None
    timeout: float | None = None
    precision: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a stored result counts.

    Attributes:
        differs: what the cell would do differently if it ran now, a line each.
        again: why the run would not keep the result although nothing differs, a line each.
    """

    differs: tuple[str, ...] = ()
    again: tuple[str, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether the cell need not be run."""
        return not self.differs and not self.again


def verdict_on(
    stored: Result, cell: Cell, facts: Mapping[str, Any] | None, asked: Asked | None = None
) -> Verdict:
    """Whether a stored result counts as the cell's.

    Args:
        stored: the result.
        cell: what would run now.
        facts: of the cell's problem (`bench.problem.posing.facts_of`); None if its data are not here, and
            then neither pixels nor masks are compared.
        asked: what the run asks for; None compares the result with the cell alone.
    """
    differs = tuple(_differences(stored, cell, facts))
    return Verdict(differs, () if asked is None else tuple(_reasons_to_repeat(stored, cell, asked)))


def _reasons_to_repeat(stored: Result, cell: Cell, asked: Asked) -> Iterator[str]:
    """Why a run would not keep a result of its own cell."""
    if asked.rerun == "all":
        yield "--rerun runs every cell again"
    if stored.status == "interrupted":
        yield "it was interrupted"
    if not stored.ok:
        if asked.rerun == "failed":
            yield "--rerun failed runs failed cells again"
        return
    how = stored.provenance
    deadline = how.get("timeout")
    seconds = deadline if isinstance(deadline, int | float) else 0
    if "stopped" in stored.fit and (asked.timeout is None or asked.timeout > seconds):
        yield "a deadline ended its fit early, and the deadline is later now"
    # If no precision is asked for, a number from a GPU, in bfloat16, counts on a machine without one too.
    by_default = cell.asked.get("from", {}).get("precision", "default") == "default"
    if not by_default and how.get("precision") not in (None, asked.precision):
        yield f"precision: {_spelled(how['precision'])} stored, {asked.precision} asked for"


def _differences(stored: Result, cell: Cell, facts: Mapping[str, Any] | None) -> Iterator[str]:
    """What differs between a result's cell and the cell as it would run now: the parts of `Cell.key`.

    A part that the result does not record, as of a cell lost with its machine, is left to the key.
    """
    found = [*_settings(stored, cell), *_parts(stored, cell), *_posed(stored, facts)]
    yield from found
    if facts is None or found:
        return
    if stored.key is None:
        yield "it does not say what it was measured on"
    elif stored.key != cell.key(facts):
        yield "its key does not fit its other parts: result.json was altered"


def _settings(stored: Result, cell: Cell) -> Iterator[str]:
    if "settings" not in stored.method.model_fields_set:
        return
    try:
        current = cell.settings
    except BenchError:
        # The user's own images cannot be read, so their settings are not known. The caller reports that.
        return
    before = stored.method.settings
    for name in sorted({*before, *current}):
        if name not in before:
            yield f"setting {name}: not stored, {_spelled(current[name])} now"
        elif name not in current:
            yield f"setting {name}: {_spelled(before[name])} stored, the method has none now"
        elif before[name] != current[name] or type(before[name]) is not type(current[name]):
            yield f"setting {name}: {_spelled(before[name])} stored, {_spelled(current[name])} now"


def _parts(stored: Result, cell: Cell) -> Iterator[str]:
    for what, before, now in (
        ("data set", stored.cell.dataset, cell.dataset),
        ("mechanism", stored.cell.mechanism, cell.problem.mechanism),
        ("rate", stored.cell.rate, cell.problem.rate),
        ("seed", stored.cell.seed, cell.problem.seed),
        ("version of the protocol", stored.protocol, PROTOCOL),
    ):
        if before not in (None, now):
            yield f"{what}: {_spelled(before)} stored, {_spelled(now)} now"
    source = stored.method.source
    if source not in (None, cell.description.source):
        yield f"the method's code changed: {_hashes(source, cell.description.source)}"


def _posed(stored: Result, facts: Mapping[str, Any] | None) -> Iterator[str]:
    if facts is None:
        return
    before = stored.problem
    for what, hashed, now in (
        ("the data set's pixels differ", before.fingerprint, facts["fingerprint"]),
        ("the masks differ", before.observed, facts["observed"]),
    ):
        if hashed not in (None, now):
            yield f"{what}: {_hashes(hashed, now)}"
    for split, count, now in (
        ("training", before.train, facts["train"]),
        ("test", before.test, facts["test"]),
    ):
        if count not in (None, now):
            yield f"{split} images: {count} stored, {now} now"


def number_at_risk(
    stored: Result, cell: Cell, facts: Mapping[str, Any], asked: Asked | None = None
) -> str | None:
    """Whether a cell's folder holds the number of another cell, which this cell's result would replace.

    Two cells can have one folder: if their names differ only in characters that a file's name cannot hold, or
    if a user's images have the same name as other images.

    Args:
        stored: what the folder holds.
        cell, facts, asked: as `verdict_on`.

    Returns:
        What the folder holds and what to do, to follow the folder's name in a sentence; None if nothing is at
        risk.
    """
    if not stored.ok:
        return None
    for name, before, now in (
        ("method", stored.cell.method, clean(cell.source.name)),
        ("dataset", stored.cell.dataset, cell.dataset),
        ("settings", stored.cell.settings, dict(cell.overrides)),
        ("rate", stored.cell.rate, cell.problem.rate),
    ):
        if before != now:
            return (
                f"holds a result of {name} {before!r}, not {now!r}, whose folder would be the same; "
                "choose another --results"
            )
    # A path may be spelt as the last part of it alone, so the spelling says nothing.
    known_by_its_path = not is_named(cell.problem.dataset)
    wanted = asked is not None and asked.rerun == "all"
    if known_by_its_path and not wanted and stored.problem.fingerprint not in (None, facts["fingerprint"]):
        return (
            f"holds a result of other images that are called {cell.dataset} too; "
            "replace it with --rerun, or choose another --results"
        )
    return None


def result_of(document: dict[str, Any]) -> Result:
    """A stored document, which `bench.store.results.readable` has passed, as a result."""
    return Result.model_validate(upgrade(document))


def _spelled(value: Any) -> str:
    return "none" if value is None else clean(str(value))[:60]


def _hashes(stored: str | None, now: str) -> str:
    return f"{(stored or 'none')[:19]} stored, {now[:19]} now"
