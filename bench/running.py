"""Cells one after the other on this machine, each shown while it runs."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.display import Display
from bench.plan import Cell
from bench.problem import choose
from bench.worker import Machine, run_cell


def run_cells(cells: Sequence[Cell], root: Path, machine: Machine, rerun: bool) -> int:
    """Run cells in order; a cell that fails is recorded and the others go on.

    Returns:
        0 where every cell has a result, else 1.

    Raises:
        BenchError: a data set cannot be read or is too small; nothing has been run then.
    """
    # A data set that is not there is refused now rather than hours later.
    for problem in {(cell.problem.dataset, cell.problem.train): cell.problem for cell in cells}.values():
        choose(problem, machine.data_dir)
    # A scheduler ends a run as Ctrl-C does: the running fit writes its checkpoint first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    display = Display(len(cells))
    missing = 0
    for number, cell in enumerate(cells, 1):
        with display.cell(number, cell.title) as shown:
            result, kept = run_cell(cell, root, machine, shown, rerun)
        display.line(f"[{number}/{len(cells)}] {cell.title}: {summary(result, kept)}")
        missing += result["status"] != "ok"
    return 1 if missing else 0


def summary(result: dict[str, Any], kept: bool) -> str:
    """A result in one line."""
    if result["status"] != "ok":
        return f"{result['status']}: {result.get('error', '')}"
    numbers = ", ".join(
        f"{name.upper()} {metric['value']:.4f}" if metric["value"] is not None else f"{name.upper()} -"
        for name, metric in result["metrics"].items()
    )
    how = "done before" if kept else f"fitted in {result['cost']['fit_seconds']:.0f} s"
    return f"{numbers} ({how})"
