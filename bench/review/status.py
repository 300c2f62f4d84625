"""Where cells stand, and why a stored result does not count. Nothing is run or written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.grid.cell import Cell
from bench.grid.counting import Asked, verdict_on
from bench.plugins.presets import PRESETS
from bench.plugins.registry import Description, Source, describe_all, find_methods
from bench.problem.posing import Problem, facts_of
from bench.store.cell_folder import LOCK, CellFolder
from bench.store.results import Result, read_result
from bench.util.folders import CELL, folders_below
from bench.util.text import clean, unknown

STATES = ("done", "running", "failed", "outdated", "missing")
"""In the order in which summaries count them. Outdated: a result is stored, but it does not count."""


@dataclass(frozen=True)
class Standing:
    """Where one cell stands.

    Attributes:
        title: what people read.
        state: one of `STATES`.
        reasons: why it is in that state, a line each; if it is done, what could not be compared.
        result: what is stored, if it can be read.
    """

    title: str
    state: str
    reasons: tuple[str, ...] = ()
    result: Result | None = None


def of_plan(
    cells: Sequence[Cell], root: Path, data_dir: Path | None, asked: Asked | None = None
) -> list[Standing]:
    """Where each cell of a plan stands, in the plan's order.

    Args:
        asked: what a run would ask for. If given, a cell that the run would run again is "outdated"; if not,
            a result is compared with its cell alone.
    """
    return [_standing(cell.title, cell, CellFolder(root, cell.path), data_dir, asked) for cell in cells]


def of_store(root: Path, plugins: Sequence[Path], data_dir: Path | None) -> list[Standing]:
    """Where each cell with a folder below the results' root stands, in the order of their paths.

    Raises:
        BenchError: a plugin file is missing, or a name is used twice.
    """
    return _of_folders(sorted(cell_folders(root)), plugins, data_dir)


def of_folder(folder: Path, plugins: Sequence[Path], data_dir: Path | None) -> Standing:
    """Where the cell in one folder stands, wherever the folder lies. Raises as `of_store`."""
    return _of_folders([folder], plugins, data_dir)[0]


def _of_folders(folders: Iterable[Path], plugins: Sequence[Path], data_dir: Path | None) -> list[Standing]:
    known = find_methods(plugins)
    read = [(folder, *_read(folder)) for folder in folders]
    named = {result.cell.method for _, result, _ in read if result is not None}
    described = describe_all(source for name, source in known.items() if name in named)
    standings = []
    for folder, result, fault in read:
        cell = rebuild(result, known, described) if result else fault
        place = CellFolder(folder.parent, Path(folder.name))
        standings.append(_standing(title_of(folder), cell, place, data_dir))
    return standings


def cell_folders(root: Path) -> Iterator[Path]:
    """The folders that runs made, dataset/mechanism-rate/method/seed-n, at any depth below the root."""
    for folder, names in folders_below(root):
        # Folders for TensorBoard have the same names.
        made = not {LOCK, "result.json"}.isdisjoint(names)
        if made and folder.name.startswith(CELL) and len(folder.relative_to(root).parts) >= 4:
            yield folder


def title_of(path: Path) -> str:
    """ "mcflow mnist pixel-0.8 seed 0" for a cell's folder; the folder's path if it lies elsewhere."""
    if len(path.parts) < 4:
        return clean(str(path))
    dataset, missing, method, seed = path.parts[-4:]
    return clean(f"{method} {dataset} {missing} {seed.replace('-', ' ', 1)}")


def problem_of(result: Result, dataset: str) -> Problem:
    """The problem that a result was measured on; `dataset` is the name or the path of its data set.

    Raises:
        BenchError: as `Problem`.
    """
    cell, sizes = result.cell, result.problem
    return Problem(dataset, cell.mechanism, cell.rate, cell.seed, sizes.train, sizes.test)


def rebuild(
    result: Result, known: Mapping[str, Source], described: Mapping[str, Description | BenchError]
) -> Cell | str:
    """A result's cell as today's code would run it, or why there is none."""
    stored = result.cell
    if stored.method not in known:
        return f"{unknown('method', stored.method, known)}; a plugin's file is given with --plugin"
    description = described[stored.method]
    if isinstance(description, BenchError):
        return str(description)
    if stored.preset not in PRESETS:
        return unknown("preset", stored.preset, PRESETS)
    try:
        problem = problem_of(result, stored.dataset)
    except BenchError as error:
        return str(error)
    return Cell(problem, known[stored.method], description, stored.preset, stored.settings)


def _standing(
    title: str, cell: Cell | str, folder: CellFolder, data_dir: Path | None, asked: Asked | None = None
) -> Standing:
    result, fault = _read(folder.path)
    if folder.running():
        return Standing(title, "running", _where(folder.noted()), result)
    if result is None:
        if fault:
            return Standing(title, "missing", (fault,))
        begun = any(folder.path.glob("checkpoints/*/*.json"))
        reason = "stopped before its end; the same command goes on from its checkpoint"
        return Standing(title, "missing", (reason,) * begun)
    if isinstance(cell, str):
        state = "done" if result.ok else "failed"
        return Standing(title, state, (f"cannot be compared with what would run now: {cell}",), result)
    return _compared(title, result, cell, data_dir, asked)


def _compared(title: str, result: Result, cell: Cell, data_dir: Path | None, asked: Asked | None) -> Standing:
    """Where a cell with a stored result stands."""
    facts: dict[str, Any] | None = None
    remarks: tuple[str, ...] = ()
    try:
        facts = _facts(cell.problem, data_dir)
    except BenchError as error:
        remarks = (f"its pixels were not compared: {clean(str(error))}",)
    verdict = verdict_on(result, cell, facts, asked)
    reasons = (*verdict.differs, *verdict.again)
    if asked is not None and facts is not None and not verdict.counts:
        return Standing(title, "outdated", reasons, result)
    if not result.ok:
        failure = f"{result.status}: {result.error}" if result.error else result.status
        return Standing(title, "failed", (failure, *reasons), result)
    if result.stopped:
        early = f"its fit ended early ({result.stopped}); a longer --timeout, or none, continues it"
        remarks = (*remarks, early)
    if result.company:
        remarks = (*remarks, result.company)
    state = "outdated" if verdict.differs else "done"
    return Standing(title, state, (*reasons, *remarks), result)


def _where(noted: Mapping[str, Any] | None) -> tuple[str, ...]:
    """How far a running cell is, as it has noted."""
    if noted is None:
        return ()
    if "stage" in noted:
        return (clean(str(noted["stage"])),)
    noted = noted.get("progress")
    if not isinstance(noted, Mapping):
        return ()
    return (clean(f"epoch {noted.get('epoch')} of {noted.get('epochs')}, step {noted.get('step')}"),)


def _read(folder: Path) -> tuple[Result | None, str]:
    """The stored result, or why it cannot be read; None and "" if none was written."""
    path = folder / "result.json"
    if not path.exists():
        return None, ""
    try:
        return read_result(path), ""
    except ValueError as error:
        return None, f"result.json {error}"


@lru_cache(maxsize=256)
def _facts(problem: Problem, data_dir: Path | None) -> dict[str, Any]:
    """As `facts_of`; many cells share a problem."""
    return facts_of(problem, data_dir)
