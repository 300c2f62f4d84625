"""One cell's process, watched from its start until what has become of the cell is known."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.datasets import BUILT_IN
from bench.errors import BenchError
from bench.run import events
from bench.run.job import CellJob
from bench.run.limits import STARTUP_SECONDS, grace
from bench.run.machine import Machine
from bench.store.cell_folder import CellFolder
from bench.util.files import CappedLog
from bench.util.processes import STOP_SECONDS, Child
from bench.util.warm import server_with

NOTE_SECONDS = 3.0
"""How often the progress of a fit is noted in the cell's folder."""

ANSWER_SECONDS = 60.0
"""How long after its method's last moment a cell's process may take to say that it has ended the method."""

SCORING_SECONDS = 600.0
"""How long scoring may take if the fit has a deadline; a later deadline gives the scoring as long."""

Report = Callable[[events.News], None]


@dataclass
class Stop:
    """How a run stops a cell: `asked`, the cell writes its checkpoint first; `now`, it is ended at once."""

    asked: threading.Event = field(default_factory=threading.Event)
    now: threading.Event = field(default_factory=threading.Event)

    def told(self) -> bool:
        """Whether the cell is to stop, in one way or the other."""
        return self.asked.is_set() or self.now.is_set()


class CellWatch:
    """Runs one cell's process and watches it.

    Args:
        job: what the process gets.
        machine: where and how the cell runs.
        folder: the cell's.
        lock: an open file that holds the cell for as long as a process of the cell runs.
        report: called with what the process tells while it runs.
        stop: looked at several times a second.
    """

    def __init__(
        self,
        job: CellJob,
        machine: Machine,
        folder: CellFolder,
        lock: int,
        report: Report,
        stop: Stop,
    ) -> None:
        self._job = job
        self._machine = machine
        self._folder = folder
        self._lock = lock
        self._report = report
        self._stop = stop
        self._last: events.CellOutcome | events.Stopped | events.Refused | None = None
        self._noted = 0.0
        self._scoring_seconds = max(machine.timeout or 0, SCORING_SECONDS)
        self._latest = math.inf
        self._late = ""
        self._set_latest("starting")

    def outcome(self) -> events.CellOutcome | None:
        """Run the process to its end, and return what has become of the cell; None if it was stopped.

        Raises:
            BenchError: the user must put something right.
        """
        # What an earlier run left unfinished goes; its result stays until there is another.
        self._folder.empty_fresh()
        log = CappedLog(self._folder.log)
        environment = self._environment()
        self._child = Child(
            "bench.run.cell_process",
            environment,
            output=log.write,
            inherited=[self._lock],
            # The cell gives its method's process less.
            patience=STOP_SECONDS + 5,
            server=server_with(("bench.run.heavy",), os.environ | environment),
        )
        self._child.send(self._job.as_json())
        try:
            for line in self._child.messages(self._tick):
                self._hear(events.read_cell_event(line))
        except events.NoEvent as error:
            self._last = events.CellOutcome(
                status="failed", error=f"its process sent something that is not an event: {error}"
            )
        finally:
            log.close()
            self._folder.progress.unlink(missing_ok=True)
        return self._settle(log.last.decode(errors="replace"))

    def _environment(self) -> dict[str, str]:
        threads = str(self._machine.threads)
        found = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        # Scoring takes any GPU that it sees, so a cell sees its own only, and on the CPU none.
        if self._machine.gpu is not None or self._machine.device == "cpu":
            found["CUDA_VISIBLE_DEVICES"] = self._machine.gpu or ""
        return found

    def _hear(self, event: events.CellEvent) -> None:
        if not isinstance(event, events.Progress | events.Stage):
            self._last = event
            return
        now = time.monotonic()
        stage = event.name if isinstance(event, events.Stage) else None
        if stage is not None:
            self._set_latest(stage)
        if stage is not None or now - self._noted > NOTE_SECONDS:
            self._noted = now
            self._folder.note(events.note_of(event))
        self._report(event)

    def _set_latest(self, stage: str) -> None:
        """When the process is to be ended, since it is late in this stage: only if the fit has a deadline.

        The process itself ends a method that is late. But a method could stop the process.
        """
        timeout = self._machine.timeout
        if timeout is None:
            return
        method = timeout + grace(timeout) + ANSWER_SECONDS
        seconds = {"starting": STARTUP_SECONDS + method, "fitting": method, "scoring": self._scoring_seconds}
        self._latest = time.monotonic() + seconds[stage]
        self._stage = stage

    def _tick(self) -> None:
        if self._stop.now.is_set():
            self._child.end()
        elif self._stop.asked.is_set():
            self._child.ask_to_stop()
        elif time.monotonic() > self._latest:
            self._late = self._why_late()
            self._child.end()

    def _settle(self, printed: str) -> events.CellOutcome | None:
        """What has become of the cell; a failure without a traceback gets the end of what was printed."""
        last = self._last
        if isinstance(last, events.Refused):
            raise BenchError(last.why)
        if isinstance(last, events.CellOutcome):
            outcome = last
        elif last is not None or self._stop.told():
            return None
        else:
            outcome = self._without_a_word()
        if outcome.status in ("ok", "interrupted") or outcome.traceback is not None:
            return outcome
        return outcome.model_copy(update={"traceback": printed})

    def _without_a_word(self) -> events.CellOutcome:
        """What has become of a cell whose process ended without telling."""
        if self._late:
            return events.CellOutcome(status="timeout", error=self._late)
        error = f"the cell's process ended without a result ({self._child.how_it_ended})"
        if self._child.out_of_memory:
            return events.CellOutcome(status="out-of-memory", error=error)
        return events.CellOutcome(status="failed", error=error)

    def _why_late(self) -> str:
        if self._stage != "scoring":
            return "the cell's process did not end its method in time, as if it were stopped, and was ended"
        dataset, seconds = self._job.dataset, f"{self._scoring_seconds:.0f}"
        advice = f"a --timeout above {seconds} allows it more"
        if dataset in BUILT_IN:
            advice = f"`bench prepare --dataset {dataset}` gets the judge ready ahead of time, and {advice}"
        return f"scoring did not end within {seconds} s and was ended; {advice}"
