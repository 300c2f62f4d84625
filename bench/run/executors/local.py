"""Cells on this machine: several at a time, each with its share of the cores, or a place on a GPU."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import replace

from bench.errors import BenchError
from bench.run import events
from bench.run.executors import Executor
from bench.run.job import Job
from bench.run.watching import Stop
from bench.run.worker import run_job

WAIT_SECONDS = 0.2
MOST_JOBS = 10_000


def places(gpus: Sequence[str], slots: int, jobs: int | None) -> list[str | None]:
    """A place for each cell that runs at a time: the GPU that it sees, or None if there are none.

    The GPUs take turns, so that two cells share a GPU only when every GPU has a cell.

    Args:
        gpus: as CUDA_VISIBLE_DEVICES names them.
        slots: how many cells share a GPU.
        jobs: how many cells at a time; None for one or, if there are GPUs, one a slot.

    Raises:
        BenchError: there are more jobs than slots or than any machine runs, or there are slots but no GPU.
    """
    if jobs is not None and jobs > MOST_JOBS:
        raise BenchError(f"--jobs {jobs} is more than a machine runs at a time; give at most {MOST_JOBS}")
    if not gpus:
        if slots > 1:
            raise BenchError(
                f"--gpu-slots {slots} shares GPUs, and this run has none; give --jobs {slots}, or see "
                "`bench doctor` if there should be one"
            )
        return [None] * (jobs or 1)
    every: list[str | None] = [gpu for _ in range(slots) for gpu in gpus]
    if jobs is not None and jobs > len(every):
        raise BenchError(
            f"--jobs {jobs} is more than {len(gpus)} GPU(s) with {slots} cell(s) each; "
            f"add --gpu-slots {-(-jobs // len(gpus))}"
        )
    return every[:jobs]


class Local(Executor):
    """Runs a thread for each cell, which watches the cell's own process.

    Args:
        free: the places, as `places` gives them.
    """

    def __init__(self, free: Sequence[str | None] = (None,)) -> None:
        self.room = len(free)
        self._free = list(free)
        self._stop = Stop()
        self._events: queue.Queue[tuple[int, events.Told]] = queue.Queue()
        self._running: dict[int, tuple[threading.Thread, str | None]] = {}

    def __exit__(self, *reason: object) -> None:
        self._stop.now.set()
        for thread, _ in self._running.values():
            thread.join()

    def start(self, number: int, job: Job) -> None:
        place = self._free.pop(0)
        if place is not None:
            job = job.model_copy(update={"machine": replace(job.machine, gpu=place, device="cuda")})
        thread = threading.Thread(target=self._run, args=[number, job], daemon=True)
        self._running[number] = thread, place
        thread.start()

    def _run(self, number: int, job: Job) -> None:
        end = run_job(job, lambda news: self._events.put((number, news)), self._stop)
        self._events.put((number, end))

    def wait(self) -> list[tuple[int, events.Told]]:
        try:
            number, event = self._events.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            return []
        if not isinstance(event, events.Progress | events.Stage):
            thread, place = self._running.pop(number)
            thread.join()
            self._free.append(place)
        return [(number, event)]

    def stop(self, now: bool) -> None:
        (self._stop.now if now else self._stop.asked).set()
