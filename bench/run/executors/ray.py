"""Cells on a Ray cluster: one that is up, or one started on this machine for the run.

A task that is lost with its node is started again elsewhere by Ray, and goes on from the cell's newest
checkpoint where the nodes share the results' folder. Where they don't, the stored result comes back with
the task.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any

from bench.errors import BenchError
from bench.run.executors import Elsewhere, Executor
from bench.run.job import Job, folder_of
from bench.run.machine import cores
from bench.run.worker import HELD_SECONDS, begun_anew, identity, kept, lost, when_free
from bench.util.processes import Event

WAIT_SECONDS = 0.5
RETRIES = 5
"""How many nodes a cell may be lost with before it is given up."""

KEPT_FILES = ("log.txt", "samples.npz", "per-image.npz", "result.json")
"""What comes back with a task; the result last, so that a cell is done only when all is there."""


def run_on_node(job: Job) -> dict[str, Any]:
    """The task: what `bench.run.worker.run_job` returns, and the cell's `files` by name."""
    end = Elsewhere(job).run()
    if "result" in end:
        folder = folder_of(job).path
        found = [folder / name for name in KEPT_FILES]
        end["files"] = {path.name: path.read_bytes() for path in found if path.is_file()}
    return end


class Ray(Executor):
    """A task for each cell.

    Attributes:
        has_gpus: whether a node has one.

    Args:
        address: of a cluster that is up; None starts one here.
        threads: CPUs that a cell takes.
        gpu_slots: how many cells share a GPU.
        jobs: how many cells at a time; None for as many as fit.

    Raises:
        BenchError: Ray is not installed, the cluster cannot be reached, or no node has so many CPUs.
    """

    def __init__(self, address: str | None, threads: int, gpu_slots: int, jobs: int | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise BenchError(
                "--executor ray needs the package ray; install it with: pip install ray"
            ) from None
        self._ray: Any = ray
        self.room = jobs
        self._threads = threads
        self._gpu_slots = gpu_slots
        self._numbers: dict[Any, tuple[int, Job]] = {}
        self._told: list[tuple[int, Event]] = []
        self._noted: dict[int, Event] = {}
        here: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False} if address is None else {}
        try:
            self._ray.init(
                address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **here
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise BenchError(f"no Ray cluster at {address or 'this machine'} ({reason})") from error
        self.has_gpus = self._ray.cluster_resources().get("GPU", 0) > 0
        most = max(
            (node["Resources"].get("CPU", 0) for node in self._ray.nodes() if node["Alive"]), default=0
        )
        if threads > most:
            raise BenchError(
                f"no node of the Ray cluster has {threads} CPUs (the most are {most:g}); give --threads"
            )

    def __exit__(self, *reason: object) -> None:
        self.stop(now=True)
        self._ray.shutdown()

    def start(self, number: int, job: Job) -> None:
        end = kept(job)
        if end is not None:
            self._told.append((number, end))
            return
        on_gpu = job["machine"]["device"].startswith("cuda")
        task = self._ray.remote(run_on_node).options(
            num_cpus=self._threads, num_gpus=1 / self._gpu_slots if on_gpu else 0, max_retries=RETRIES
        )
        job = begun_anew(job)
        self._numbers[task.remote(job)] = number, job

    def wait(self) -> list[tuple[int, Event]]:
        told, self._told = self._told, []
        if not self._numbers or told:
            return told
        for done in self._ray.wait([*self._numbers], timeout=WAIT_SECONDS)[0]:
            number, job = self._numbers.pop(done)
            told.append((number, self._end(done, job)))
        return told + self._news()

    def _end(self, done: Any, job: Job) -> Event:
        try:
            end: dict[str, Any] = self._ray.get(done)
        except self._ray.exceptions.TaskCancelledError:
            return {"end": "stopped"}
        except self._ray.exceptions.RayError as error:
            return lost(job, f"Ray lost the cell: {type(error).__name__}: {error}")
        return bring_home(job, end)

    def _news(self) -> list[tuple[int, Event]]:
        """How far the running cells are, where their folder can be seen from here."""
        news: list[tuple[int, Event]] = []
        for number, job in self._numbers.values():
            noted = folder_of(job).noted()
            if noted is not None and noted != self._noted.get(number):
                self._noted[number] = noted
                news.append((number, noted))
        return news

    def stop(self, now: bool) -> None:
        for task in self._numbers:
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.cancel(task, force=now)


def bring_home(job: Job, end: dict[str, Any]) -> dict[str, Any]:
    """Write a cell's files here, where the node that ran it wrote them to a folder of its own; its end."""
    files: dict[str, bytes] = end.pop("files", {})
    folder = folder_of(job)
    if "result" not in end or identity(folder.result()) == identity(end["result"]):
        return end

    def take_in() -> dict[str, Any]:
        with folder.claimed():
            folder.take_in({name: files[name] for name in KEPT_FILES if name in files})
        return end

    # Who only looks whether the cell is running holds it for a moment.
    return when_free(take_in, HELD_SECONDS)
