"""A run: cells given to an executor, shown while they run, stopped and gone on with."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from bench.datasets.locations import facenet_file
from bench.errors import BenchError
from bench.grid.cell import Cell
from bench.problem.posing import choose
from bench.run.display import CellDisplay, Display
from bench.run.executors import Executor
from bench.run.job import Job, new_job
from bench.run.machine import Machine
from bench.util.files import refuse_unwritable
from bench.util.processes import Event

HELD_SECONDS = 2.0
"""How long until a cell that another run holds is asked for again."""


def run_cells(
    cells: Sequence[Cell],
    root: Path,
    machine: Machine,
    rerun: str | None,
    executor: Executor,
    ended: Callable[[Path, Mapping[str, Any]], None] | None = None,
) -> int:
    """Run cells, as many at a time as the executor takes; one that fails is recorded and the others go on.

    A first Ctrl-C or SIGTERM lets the running cells write their checkpoints; a second ends them at once.

    Args:
        rerun: None, "failed" or "all", as `bench.run.job.new_job`.
        ended: called with each cell's path below the root and its result, once it has one.

    Returns:
        0 where every cell has a result, else 1.

    Raises:
        BenchError: a data set cannot be read or is too small, a judge's file is not there, or the results
            cannot be written: before anything has been run, or later, and what ran has been stopped.
        KeyboardInterrupt: it was stopped.
    """
    # What is not there is refused now rather than hours later.
    if any(cell.problem.dataset == "celeba" for cell in cells):
        facenet_file(machine.data_dir)
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
    """Within it, signals that end a run are only noted, in the list that it yields."""
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
        ended: Callable[[Path, Mapping[str, Any]], None] | None,
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
        """Stop the cells with their checkpoints written at the first signal, at once at the second."""
        if len(came) > 1 and self._stopped < 2:
            self._executor.stop(now=True)
            self._stopped = 2
        elif came and not self._stopped:
            self._display.line("stopping: running cells write their checkpoints; once more ends them at once")
            self._executor.stop(now=False)
            self._stopped = 1

    def start_what_can(self) -> None:
        """Start cells while there is room; those that another run holds when their time has come."""
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
            if "end" in event:
                self._end(number, event)
            else:
                self.running[number][1](event)

    def _end(self, number: int, event: Event) -> None:
        stack, _ = self.running.pop(number)
        stack.close()
        heading = f"[{number}/{len(self._cells)}] {self._cells[number - 1][0].title}"
        if event["end"] == "held":
            if number not in self._held:
                self._display.line(f"{heading}: another run has it; waiting")
            self._held.add(number)
            self.waiting.append((number, time.monotonic() + HELD_SECONDS))
        elif event["end"] == "refused":
            if self.fault is None:
                self._executor.stop(now=False)
                self.fault = BenchError(event["why"])
        elif event["end"] == "stopped":
            self.missing += 1
            again = self._cells[number - 1][1]["rerun"] == "all"
            advice = "begins it again; what was stored before stays" if again else "goes on with it"
            self._display.line(f"{heading}: stopped; the same command {advice}")
        else:
            self.missing += event["result"]["status"] != "ok"
            self._display.line(f"{heading}: {summary(event['result'], event['end'] == 'kept')}")
            self._tell_reasons(event["result"])
            if self._ended is not None:
                self._ended(self._cells[number - 1][0].path, event["result"])

    def _tell_reasons(self, result: Mapping[str, Any]) -> None:
        """Why metrics have no value, each reason with the first cell that has it."""
        for name, metric in result.get("metrics", {}).items():
            told = f"{name.upper()} -: {metric.get('reason', 'not recorded')}"
            if metric.get("value") is None and told not in self._reasons:
                self._reasons.add(told)
                self._display.line(told)


def summary(result: dict[str, Any], kept: bool) -> str:
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
