"""Where cells stand, and why a stored result does not count; runs nothing and writes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.grid.cell import PROTOCOL, Cell
from bench.plugins.presets import PRESETS
from bench.plugins.registry import Description, Source, describe_all, find_methods
from bench.problem.posing import Problem, facts_of
from bench.store.cell_folder import LOCK, CellFolder
from bench.store.results import Result, read_result
from bench.util.folders import CELL, folders_below
from bench.util.text import clean, unknown

STATES = ("done", "running", "failed", "outdated", "missing")
"""In the order that summaries count them. Outdated: there is a number, but not of what was asked for."""


@dataclass(frozen=True)
class Standing:
    """Where one cell stands.

    Attributes:
        title: what people read.
        state: one of `STATES`.
        reasons: why it is in that state, a line each; for a done cell, what could not be compared.
        result: what is stored, if it can be read.
    """

    title: str
    state: str
    reasons: tuple[str, ...] = ()
    result: Result | None = None


def of_plan(cells: Sequence[Cell], root: Path, data_dir: Path | None) -> list[Standing]:
    """Where each cell of a plan stands, in the plan's order."""
    return [_standing(cell.title, cell, CellFolder(root, cell.path), data_dir) for cell in cells]


def of_store(root: Path, plugins: Sequence[Path], data_dir: Path | None) -> list[Standing]:
    """Where each cell with a folder below the results' root stands, in the order of their paths.

    Raises:
        BenchError: a plugin file is missing, or a name is used twice.
    """
    return _of_folders(sorted(cell_folders(root)), plugins, data_dir)


def of_folder(folder: Path, plugins: Sequence[Path], data_dir: Path | None) -> Standing:
    """Where the cell in one folder stands, wherever that is. Raises as `of_store`."""
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
    """The folders that a run made, dataset/mechanism-rate/method/seed-n, at any depth below the root."""
    for folder, names in folders_below(root):
        # What TensorBoard reads lies in folders of the same names.
        made = not {LOCK, "result.json"}.isdisjoint(names)
        if made and folder.name.startswith(CELL) and len(folder.relative_to(root).parts) >= 4:
            yield folder


def title_of(path: Path) -> str:
    """ "mcflow mnist pixel-0.8 seed 0" for a cell's folder; the folder's name where it lies elsewhere."""
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
    """The cell that a result is of, as today's code would run it, or why it cannot be had."""
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


def _standing(title: str, cell: Cell | str, folder: CellFolder, data_dir: Path | None) -> Standing:
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
    why, unknowns = differences(result, cell, data_dir)
    if not result.ok:
        error = f"{result.status}: {result.error}" if result.error else result.status
        return Standing(title, "failed", (error, *why), result)
    early = [f"its fit ended early ({result.stopped}); a longer --timeout, or none, goes on with it"]
    return Standing(
        title, "outdated" if why else "done", (*why, *unknowns, *early * bool(result.stopped)), result
    )


def _where(noted: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What a running cell said of where it stands."""
    if noted is None:
        return ()
    if "stage" in noted:
        return (clean(str(noted["stage"])),)
    noted = noted.get("progress")
    if not isinstance(noted, Mapping):
        return ()
    return (clean(f"epoch {noted.get('epoch')} of {noted.get('epochs')}, step {noted.get('step')}"),)


def _read(folder: Path) -> tuple[Result | None, str]:
    """The stored result, or why there is none; "" where none was written."""
    path = folder / "result.json"
    if not path.exists():
        return None, ""
    try:
        return read_result(path), ""
    except ValueError as error:
        return None, f"result.json {error}"


def differences(result: Result, cell: Cell, data_dir: Path | None) -> tuple[list[str], list[str]]:
    """What keeps a stored result from being the cell's, each on a line, and what could not be compared.

    Compares one by one what `Cell.key` is made of.
    """
    found: list[str] = []
    # Where a user's own images cannot be read, their settings are not known; the pixels tell why.
    with contextlib.suppress(BenchError):
        found += _settings(result.method.settings, cell.settings)
    for what, stored, now in (
        ("data set", result.cell.dataset, cell.dataset),
        ("mechanism", result.cell.mechanism, cell.problem.mechanism),
        ("rate", result.cell.rate, cell.problem.rate),
        ("seed", result.cell.seed, cell.problem.seed),
        ("version of the protocol", result.protocol, PROTOCOL),
    ):
        if stored != now:
            found.append(f"{what}: {_spelled(stored)} stored, {_spelled(now)} now")
    if result.method.source != cell.description.source:
        found.append(f"the method's code changed: {_hashes(result.method.source, cell.description.source)}")
    try:
        facts = _facts(cell.problem, data_dir)
    except BenchError as error:
        return found, [f"its pixels were not compared: {clean(str(error))}"]
    for what, stored, now in (
        ("the data set's pixels differ", result.problem.fingerprint, facts["fingerprint"]),
        ("the masks differ", result.problem.observed, facts["observed"]),
    ):
        if stored != now:
            found.append(f"{what}: {_hashes(stored, now)}")
    for split, size in (("training", "train"), ("test", "test")):
        if (stored := getattr(result.problem, size)) != facts[size]:
            found.append(f"{split} images: {_spelled(stored)} stored, {facts[size]} now")
    if not found and result.key != cell.key(facts):
        found.append("its key is not that of what it says it is: result.json was altered")
    return found, []


@lru_cache(maxsize=256)
def _facts(problem: Problem, data_dir: Path | None) -> dict[str, Any]:
    """As `facts_of`; many cells share a problem."""
    return facts_of(problem, data_dir)


def _settings(stored: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*stored, *now}):
        if name not in stored:
            yield f"setting {name}: not stored, {_spelled(now[name])} now"
        elif name not in now:
            yield f"setting {name}: {_spelled(stored[name])} stored, the method has none now"
        elif stored[name] != now[name] or type(stored[name]) is not type(now[name]):
            yield f"setting {name}: {_spelled(stored[name])} stored, {_spelled(now[name])} now"


def _spelled(value: Any) -> str:
    return "none" if value is None else clean(str(value))[:60]


def _hashes(stored: str | None, now: str) -> str:
    return f"{(stored or 'none')[:19]} stored, {now[:19]} now"
