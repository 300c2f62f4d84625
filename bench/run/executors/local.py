"""Cells on this machine, several at a time, each with its share of the cores and its place on a GPU."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

from bench.errors import BenchError
from bench.run.executors import Executor
from bench.run.job import Job
from bench.run.worker import Stop, run_job
from bench.util.processes import Event

WAIT_SECONDS = 0.2
MOST_JOBS = 10_000


def places(gpus: Sequence[str], slots: int, jobs: int | None) -> list[str | None]:
    """A place for each cell that runs at a time: the GPU it sees, or None where there are none.

    The GPUs take turns, so that two cells share one only when each has one.

    Args:
        gpus: as CUDA_VISIBLE_DEVICES names them.
        slots: how many cells share a GPU.
        jobs: how many cells at a time; None for one, or one a slot where there are GPUs.

    Raises:
        BenchError: there are more jobs than slots, or than any machine runs, or slots but no GPU.
    """
    if jobs is not None and jobs > MOST_JOBS:
        raise BenchError(f"--jobs {jobs} is more than a machine runs at a time; give at most {MOST_JOBS}")
    if not gpus:
        if slots > 1:
            raise BenchError(
                f"--gpu-slots {slots} shares GPUs, and this run has none; give --jobs {slots}, or see "
                "`bench doctor` where there should be one"
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
    """A thread for each cell, which watches the cell's own process.

    Args:
        free: the places, as `places` gives them.
    """

    def __init__(self, free: Sequence[str | None] = (None,)) -> None:
        self.room = len(free)
        self._free = list(free)
        self._stop = Stop()
        self._events: queue.Queue[tuple[int, Event]] = queue.Queue()
        self._running: dict[int, tuple[threading.Thread, str | None]] = {}

    def __exit__(self, *reason: object) -> None:
        self._stop.now.set()
        for thread, _ in self._running.values():
            thread.join()

    def start(self, number: int, job: Job) -> None:
        place = self._free.pop(0)
        if place is not None:
            job = job | {"machine": job["machine"] | {"gpu": place, "device": "cuda"}}
        thread = threading.Thread(target=self._run, args=[number, job], daemon=True)
        self._running[number] = thread, place
        thread.start()

    def _run(self, number: int, job: Job) -> None:
        self._events.put((number, run_job(job, lambda event: self._events.put((number, event)), self._stop)))

    def wait(self) -> list[tuple[int, Event]]:
        try:
            number, event = self._events.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            return []
        if "end" in event:
            thread, place = self._running.pop(number)
            thread.join()
            self._free.append(place)
        return [(number, event)]

    def stop(self, now: bool) -> None:
        (self._stop.now if now else self._stop.asked).set()
