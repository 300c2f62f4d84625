"""A run: cells are given to an executor, shown while they run, and stopped when a signal comes."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from bench.errors import BenchError
from bench.grid.cell import Cell
from bench.judges.known import refuse_absent_files
from bench.problem.posing import choose
from bench.run import events
from bench.run.display import CellDisplay, Display
from bench.run.executors import Executor
from bench.run.job import Job, Rerun, new_job
from bench.run.machine import Machine
from bench.util.files import refuse_unwritable

Ended = Callable[[Path, Mapping[str, Any]], None]

HELD_SECONDS = 2.0
"""How long to wait before a cell that another run holds is tried again."""


def run_cells(
    cells: Sequence[Cell],
    root: Path,
    machine: Machine,
    rerun: Rerun | None,
    executor: Executor,
    ended: Ended | None = None,
) -> int:
    """Run cells, as many at a time as the executor takes. If one fails, that is stored and the others go on.

    A first Ctrl-C or SIGTERM lets the running cells write their checkpoints. A second ends them at once.

    Args:
        rerun: as `bench.run.job.Job.rerun`.
        ended: called with each cell's path below the root and its result, once it has one.

    Returns:
        0 if every cell has a number, else 1.

    Raises:
        BenchError: a data set cannot be read or is too small, a judge's file is not there, or the results
            cannot be written. This is raised before any cell runs or, later, after all cells were stopped.
        KeyboardInterrupt: the run was stopped.
    """
    # What is not there is refused now rather than hours later.
    for dataset in dict.fromkeys(cell.problem.dataset for cell in cells):
        refuse_absent_files(dataset, machine.data_dir)
    for problem in {(cell.problem.dataset, cell.problem.train): cell.problem for cell in cells}.values():
        choose(problem, machine.data_dir)
    refuse_unwritable(root.resolve())
    jobs = [(cell, new_job(cell, root, machine, rerun)) for cell in cells]
    with executor, signals() as came:
        run = _Run(jobs, executor, Display(len(cells)), ended)
        while run.running or (run.waiting and not run.halted):
            run.obey(came)
            run.start_what_can()
            run.hear()
    if run.fault is not None:
        raise run.fault
    if came:
        raise KeyboardInterrupt
    return 1 if run.missing else 0


@contextmanager
def signals() -> Iterator[list[int]]:
    """Within it, a signal that would end the run is only noted, in the list that it yields."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Run:
    """Where each cell of a run stands.

    Attributes:
        waiting: the cells' numbers, from 1, and when each may be started.
        running: what shows each running cell.
        missing: how many cells ended without a number.
        fault: what the user must put right before any other cell is run.
    """

    def __init__(
        self,
        cells: Sequence[tuple[Cell, Job]],
        executor: Executor,
        display: Display,
        ended: Ended | None,
    ) -> None:
        self._cells = cells
        self._ended = ended
        self._executor = executor
        self._display = display
        self._held: set[int] = set()
        self._reasons: set[str] = set()
        self.waiting = deque((number, 0.0) for number in range(1, len(cells) + 1))
        self.running: dict[int, tuple[ExitStack, CellDisplay]] = {}
        self.missing = 0
        self.fault: BenchError | None = None
        self._stopped = 0

    @property
    def halted(self) -> bool:
        """Whether no more cells are started."""
        return self._stopped > 0 or self.fault is not None

    def obey(self, came: Sequence[int]) -> None:
        """At the first signal, stop the cells with their checkpoints written; at the second, end them."""
        if len(came) > 1 and self._stopped < 2:
            self._executor.stop(now=True)
            self._stopped = 2
        elif came and not self._stopped:
            self._display.line("stopping: running cells write their checkpoints; once more ends them at once")
            self._executor.stop(now=False)
            self._stopped = 1

    def start_what_can(self) -> None:
        """Start cells while there is room; try those that another run held again when their time has come."""
        room = self._executor.room
        now = time.monotonic()
        for _ in range(len(self.waiting)):
            if self.halted or (room is not None and len(self.running) >= room):
                return
            number, when = self.waiting.popleft()
            if when > now:
                self.waiting.append((number, when))
                continue
            cell, job = self._cells[number - 1]
            stack = ExitStack()
            shown = stack.enter_context(self._display.cell(number, cell.title, number in self._held))
            self.running[number] = stack, shown
            self._executor.start(number, job)

    def hear(self) -> None:
        """Show what the cells have told."""
        if not self.running:
            time.sleep(0.2)
            return
        for number, event in self._executor.wait():
            if isinstance(event, events.Progress | events.Stage):
                self.running[number][1](event)
            else:
                self._end(number, event)

    def _end(self, number: int, end: events.End) -> None:
        """Take in what has become of a cell."""
        stack, _ = self.running.pop(number)
        stack.close()
        cell, job = self._cells[number - 1]
        heading = f"[{number}/{len(self._cells)}] {cell.title}"
        if isinstance(end, events.Held):
            if number not in self._held:
                self._display.line(f"{heading}: another run has it; waiting")
            self._held.add(number)
            self.waiting.append((number, time.monotonic() + HELD_SECONDS))
        elif isinstance(end, events.Refused):
            if self.fault is None:
                self._executor.stop(now=False)
                self.fault = BenchError(end.why)
        elif isinstance(end, events.Stopped):
            self.missing += 1
            again = "begins it again; what was stored before stays"
            advice = again if job.rerun == "all" else "goes on with it"
            self._display.line(f"{heading}: stopped; the same command {advice}")
        else:
            self.missing += end.result["status"] != "ok"
            told = summary(end.result, isinstance(end, events.Kept))
            kept = isinstance(end, events.Stored) and end.number_kept
            self._display.line(f"{heading}: {told}{NUMBER_KEPT if kept else ''}")
            self._tell_reasons(end.result)
            if self._ended is not None:
                self._ended(cell.path, end.result)

    def _tell_reasons(self, result: Mapping[str, Any]) -> None:
        """Tell why metrics have no value, each reason once."""
        for name, metric in result.get("metrics", {}).items():
            told = f"{name.upper()} -: {metric.get('reason', 'not recorded')}"
            if metric.get("value") is None and told not in self._reasons:
                self._reasons.add(told)
                self._display.line(told)


NUMBER_KEPT = " (the number that was stored before stays)"


def summary(result: Mapping[str, Any], kept: bool) -> str:
    """A result in one line."""
    if result["status"] != "ok":
        advice = " (before; --rerun failed tries it again)" if kept else ""
        return f"{result['status']}: {result.get('error', '')}{advice}"
    values = {name: metric.get("value") for name, metric in result.get("metrics", {}).items()}
    numbers = ", ".join(
        f"{name.upper()} -" if value is None else f"{name.upper()} {value:.4f}"
        for name, value in values.items()
    )
    how = "done before" if kept else f"fitted in {result['cost']['fit_seconds']:.0f} s"
    return f"{numbers} ({how})"
