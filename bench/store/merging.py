"""Copies the results of several machines into one folder; nothing is copied if they contradict each other."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.errors import BenchError
from bench.store.cell_folder import CellFolder
from bench.store.results import Result, read_result
from bench.util.files import open_regular, write_atomically
from bench.util.text import clean, file_name, older_file_name

# Files that a run writes while it works; they are of no use on another machine.
UNFINISHED = ("progress.json", "progress.draft")
SAFE = re.compile(r"[A-Za-z0-9_=,+@-][A-Za-z0-9._=,+@-]*")


@dataclass(frozen=True)
class Step:
    """What to do with one cell of one source.

    Attributes:
        cell: its folder, below the source and below the target.
        source: the results folder that it comes from.
        result: its result; None if the cell is passed over.
        reason: why it is passed over; "" if it is copied.
    """

    cell: Path
    source: Path
    result: Result | None
    reason: str = ""


def plan_merge(sources: Sequence[Path], target: Path) -> tuple[list[Step], list[str]]:
    """Decide what to do with every cell of every source. Nothing is written.

    Returns:
        The steps, and a line for each cell that is in conflict or refused. If there are such lines, the
        caller should copy nothing.

    Raises:
        BenchError: a source is not a folder, or the source and the target lie in one another.
    """
    steps: list[Step] = []
    faults: list[str] = []
    chosen: dict[Path, tuple[Path, Result]] = {}
    for source in sources:
        if not source.is_dir():
            raise BenchError(f"{source} is not a folder; name one that holds results")
        here, there = source.resolve(), target.resolve()
        if here.is_relative_to(there) or there.is_relative_to(here):
            raise BenchError(f"{source} and {target} lie in one another; choose another --into")
        cells = [*_cells(source)]
        if not cells:
            raise BenchError(
                f"{source} holds no cells; name the folder that --results named, as results/runs"
            )
        for cell in cells:
            try:
                step = _step(cell, source, target, chosen)
            except ValueError as error:
                faults.append(clean(f"{source / cell}: {error}"))
                continue
            steps.append(step)
            if step.result is not None and not step.reason:
                chosen[cell] = (source, step.result)
    return [_unless_replaced(step, chosen) for step in steps], faults


def _unless_replaced(step: Step, chosen: Mapping[Path, tuple[Path, Result]]) -> Step:
    """The step unchanged; or passed over, if its cell failed and a later source has numbers of the cell."""
    if step.reason or step.result is None or chosen[step.cell][1] is step.result:
        return step
    reason = f"is {step.result.status}; {chosen[step.cell][0]} holds its numbers"
    return replace(step, result=None, reason=reason)


def _cells(source: Path) -> Iterator[Path]:
    """All folders at the places of cells, also those that a link leads to."""
    for path in sorted(source.glob("*/*/*/*")):
        if path.name.startswith("seed-") and path.is_dir():
            yield path.relative_to(source)


def _step(cell: Path, source: Path, target: Path, chosen: dict[Path, tuple[Path, Result]]) -> Step:
    """What to do with one cell. Raises ValueError if it is refused or contradicts another one."""
    _refuse_strange_names(cell, source)
    folder = CellFolder(source, cell)
    if folder.running():
        return Step(cell, source, None, "is being run")
    if not (folder.path / "result.json").exists():
        return Step(cell, source, None, "has no result yet")
    try:
        result = read_result(folder.path / "result.json")
    except ValueError as error:
        raise ValueError(f"result.json {error}") from None
    if not _fits(cell, result):
        raise ValueError("its result.json belongs to another cell than its folder")
    place = target / cell
    if cell in chosen:
        return _against(cell, source, result, *chosen[cell])
    if not (place / "result.json").exists():
        return Step(cell, source, result)
    try:
        there = read_result(place / "result.json")
    except ValueError as error:
        raise ValueError(f"the one in {target} {error}; remove it") from None
    return _against(cell, source, result, target, there)


def _refuse_strange_names(cell: Path, source: Path) -> None:
    """Raises ValueError if a run could not have made a name, or if there is a link."""
    place = source
    for part in cell.parts:
        place = place / part
        if not SAFE.fullmatch(part):
            raise ValueError(f"{part!r} is not a name that a run gives to a folder")
        if place.is_symlink():
            raise ValueError(f"{part} is a link; results must be real folders")
    for path in place.iterdir():
        if path.is_symlink():
            raise ValueError(f"{path.name} is a link; results must be real files")


def _fits(cell: Path, result: Result) -> bool:
    """Whether the folder belongs to the cell that the result records."""
    dataset, missing, method, seed = cell.parts
    return (
        dataset in (file_name(result.cell.dataset), older_file_name(result.cell.dataset))
        and missing == file_name(f"{result.cell.mechanism}-{result.cell.rate:g}")
        and (
            method == file_name(result.cell.method) or method.startswith(f"{file_name(result.cell.method)}@")
        )
        and seed == f"seed-{result.cell.seed}"
    )


def _against(cell: Path, source: Path, mine: Result, other: Path, theirs: Result) -> Step:
    """Compare a cell with the same cell elsewhere. Raises ValueError if they contradict each other."""
    # A cell that failed before its problem was posed has no key.
    if mine.key != theirs.key and (mine.ok or mine.key) and (theirs.ok or theirs.key):
        raise ValueError(
            f"conflict: {other} holds the same cell with another key ({_short(theirs.key)} there, "
            f"{_short(mine.key)} here): other settings, code or pixels"
        )
    if not mine.ok:
        return Step(cell, source, None, f"is {mine.status}; {other} holds it already")
    if not theirs.ok:
        return Step(cell, source, mine)
    for name in sorted({*mine.metrics, *theirs.metrics}):
        here, there = mine.metrics.get(name), theirs.metrics.get(name)
        if here != there:
            told = [f"{one.value:.9g}" if one and one.value is not None else "none" for one in (there, here)]
            raise ValueError(
                f"conflict: {other} holds other numbers: {name} is {told[0]} there, {told[1]} here"
            )
    return Step(cell, source, None, f"is the same in {other}")


def _short(key: str | None) -> str:
    return key[:19] if key else "none"


def copy(step: Step, target: Path) -> None:
    """Copy one cell. Its `result.json` comes last, so that a half-copied cell has no result yet.

    Raises:
        BenchError: the target cannot be written, a run holds the cell there, or the source has changed.
    """
    source, folder = step.source / step.cell, CellFolder(target, step.cell)
    with folder.claimed():
        try:
            names = sorted(path.name for path in source.iterdir() if _is_kept(path))
            for name in [*(name for name in names if name != "result.json"), "result.json"]:
                # If a link has replaced a file since it was checked, the link is not followed.
                with open_regular(source / name, follow=False) as file:
                    write_atomically(folder.path / name, partial(shutil.copyfileobj, file))
        except OSError as error:
            raise BenchError(f"{source} cannot be copied to {folder.path} ({error.strerror})") from error


def _is_kept(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.name not in UNFINISHED
