"""Where cells run: `local`, `ray`, `slurm`. All of them run `bench.run.worker.run_job`."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

from bench.run.job import Job
from bench.run.worker import Stop, run_job
from bench.util.processes import Event


class Executor(ABC):
    """Takes jobs and tells what becomes of them. Used as a context; all its methods from one thread.

    Attributes:
        room: how many jobs may be given to it at a time; None for all of them.
    """

    room: int | None = None

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *reason: object) -> None:
        """End what is still running, at once."""

    @abstractmethod
    def start(self, number: int, job: Job) -> None:
        """Take a job, under a number of the caller's."""

    @abstractmethod
    def wait(self) -> list[tuple[int, Event]]:
        """What the jobs have told, after a moment at most; a job's last event is what `run_job` returns."""

    @abstractmethod
    def stop(self, now: bool) -> None:
        """Let all jobs stop, with their checkpoints written or, `now`, at once."""


class Elsewhere:
    """A job that runs in a thread, so that the process's main thread hears what asks it to stop."""

    def __init__(self, job: Job) -> None:
        self.stop = Stop()
        self._job = job
        self._outcome: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def run(self) -> dict[str, Any]:
        """Run it to its end, in its own working folder, and return what `run_job` does; Ctrl-C stops it."""
        os.environ.update(self._job["environment"])
        if Path(self._job["folder"]).is_dir():
            os.chdir(self._job["folder"])
        self._thread.start()
        while self._thread.is_alive():
            try:
                self._thread.join(0.2)
            except KeyboardInterrupt:
                self.stop.asked.set()
        return self._outcome

    def end(self) -> None:
        """Let it write its checkpoint; back when it has ended."""
        self.stop.asked.set()
        # Where it was not begun yet, it stops as soon as it is.
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        self._outcome = run_job(self._job, lambda event: None, self.stop)
