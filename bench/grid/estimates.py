"""How long cells will take, judged by what stored cells took."""

from __future__ import annotations

import heapq
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePath

from bench.grid.cell import Cell
from bench.store.results import Result


class Estimates:
    """Seconds of fitting and imputing, by data set and by method with its preset, sizes and settings.

    A cell's folder names all of these. Cells whose folders differ in rate and seed only are assumed to take
    equally long.

    Args:
        results: what was measured before.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        for result in results:
            fit, per_image = result.cost.fit_seconds, result.cost.impute_ms_per_image
            if result.ok and fit is not None and len(result.path.parts) > 4:
                imputing = (per_image or 0.0) * (result.problem.test or 0) / 1000
                self._seconds[_alike(result.path.parent)].append(fit + imputing)

    def seconds(self, cell: Cell) -> float | None:
        """The mean over the stored cells like it; None if there are none."""
        measured = self._seconds.get(_alike(cell.path))
        return statistics.fmean(measured) if measured else None


def _alike(path: PurePath) -> tuple[str, str]:
    """The data set and the method that a cell's folder names."""
    dataset, _, method, _ = path.parts[-4:]
    return dataset, method


def side_by_side(seconds: Iterable[float], jobs: int) -> float:
    """How long cells take together if `jobs` of them run at a time, begun in their order."""
    free_at = [0.0] * jobs
    for one in seconds:
        heapq.heapreplace(free_at, free_at[0] + one)
    return max(free_at)


def duration(seconds: float) -> str:
    """ "<1 s", "45 s", "12 min", "3 h 20 min"."""
    if seconds < 1:
        return "<1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60:,} h {minutes % 60} min"
