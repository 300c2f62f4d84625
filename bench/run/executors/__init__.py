"""Where cells run: `local`, `ray`, `slurm`. All of them run `bench.run.worker.run_job`."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from typing import Self

from bench.run import events
from bench.run.job import Job
from bench.run.watching import Stop
from bench.run.worker import run_job


class Executor(ABC):
    """Takes jobs and tells what becomes of them. It is a context, and one thread calls all its methods.

    Attributes:
        room: how many jobs it takes at a time; None for all of them.
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
    def wait(self) -> list[tuple[int, events.Told]]:
        """What the jobs have told, with their numbers, within a moment; a job's last word is an `End`."""

    @abstractmethod
    def stop(self, now: bool) -> None:
        """Stop all jobs: at once, or (`now` False) with their checkpoints written."""


class Elsewhere:
    """A job in a thread of this process, whose main thread hears what asks the job to stop.

    Args:
        job: what to run.
    """

    def __init__(self, job: Job) -> None:
        self.stop = Stop()
        self._job = job
        self._end: events.End = events.Stopped()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def run(self) -> events.End:
        """Run the job to its end, in its own working folder; Ctrl-C stops it."""
        os.environ.update(self._job.environment)
        if self._job.folder.is_dir():
            os.chdir(self._job.folder)
        self._thread.start()
        while self._thread.is_alive():
            try:
                self._thread.join(0.2)
            except KeyboardInterrupt:
                self.stop.asked.set()
        return self._end

    def end(self) -> None:
        """Let the job write its checkpoint, and wait until it has ended."""
        self.stop.asked.set()
        # A job that has not begun yet stops as soon as it begins.
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        self._end = run_job(self._job, lambda news: None, self.stop)
