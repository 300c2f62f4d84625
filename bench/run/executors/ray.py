"""Cells on a Ray cluster: one that is up, or one started on this machine for the run.

Ray starts a task that is lost with its node again on another. If the nodes share the results' folder, the
cell goes on from its newest checkpoint. If they do not, the task brings the stored files back.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any

from bench.errors import BenchError
from bench.run import events
from bench.run.executors import Elsewhere, Executor
from bench.run.executors.queued import HELD_SECONDS, begun_anew, kept, lost, when_free
from bench.run.job import Job, identity
from bench.run.machine import cores

WAIT_SECONDS = 0.5
RETRIES = 5
"""How many times a cell may be lost with its node before it is given up."""

KEPT_FILES = ("log.txt", "samples.npz", "per-image.npz", "result.json")
"""What comes back with a task; the result last, so that a cell is done only when all is there."""

Files = dict[str, bytes]


def run_on_node(given: dict[str, Any]) -> tuple[str, Files]:
    """The task of a job in JSON: what has become of the cell, as JSON, and the cell's files by name."""
    job = Job.model_validate(given)
    end = Elsewhere(job).run()
    if not isinstance(end, events.Stored | events.Kept):
        return events.end_as_json(end), {}
    found = [job.cell_folder.path / name for name in KEPT_FILES]
    return events.end_as_json(end), {path.name: path.read_bytes() for path in found if path.is_file()}


class Ray(Executor):
    """Runs a task for each cell.

    Attributes:
        has_gpus: whether a node has one.

    Args:
        address: of a cluster that is up; None starts one here.
        threads: how many CPUs a cell takes.
        gpu_slots: how many cells share a GPU.
        jobs: how many cells run at a time; None for as many as fit.

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
        self._told: list[tuple[int, events.Told]] = []
        self._noted: dict[int, events.News] = {}
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
        on_gpu = job.machine.device.startswith("cuda")
        task = self._ray.remote(run_on_node).options(
            num_cpus=self._threads, num_gpus=1 / self._gpu_slots if on_gpu else 0, max_retries=RETRIES
        )
        job = begun_anew(job)
        self._numbers[task.remote(job.as_json())] = number, job

    def wait(self) -> list[tuple[int, events.Told]]:
        told, self._told = self._told, []
        if not self._numbers or told:
            return told
        for done in self._ray.wait([*self._numbers], timeout=WAIT_SECONDS)[0]:
            number, job = self._numbers.pop(done)
            told.append((number, self._end(done, job)))
        return told + self._news()

    def _end(self, done: Any, job: Job) -> events.End:
        try:
            told, files = self._ray.get(done)
            return bring_home(job, events.read_end(told), files)
        except self._ray.exceptions.TaskCancelledError:
            return events.Stopped()
        except events.NoEvent as error:
            return lost(job, f"its node runs another version of bench ({error})")
        except self._ray.exceptions.RayError as error:
            return lost(job, f"Ray lost the cell: {type(error).__name__}: {error}")

    def _news(self) -> list[tuple[int, events.Told]]:
        """How far the running cells are, if their folders can be seen from here."""
        told: list[tuple[int, events.Told]] = []
        for number, job in self._numbers.values():
            news = events.news_of(job.cell_folder.noted())
            if news is not None and news != self._noted.get(number):
                self._noted[number] = news
                told.append((number, news))
        return told

    def stop(self, now: bool) -> None:
        for task in self._numbers:
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.cancel(task, force=now)


def bring_home(job: Job, end: events.End, files: Files) -> events.End:
    """Write a cell's files here, if its node wrote them to a folder of its own; returns the cell's end.

    If the node has no number, one that is stored here stays.
    """
    folder = job.cell_folder
    if not isinstance(end, events.Stored | events.Kept) or identity(folder.result()) == identity(end.result):
        return end

    def take_in() -> events.End:
        with folder.claimed():
            if end.result.get("status") != "ok" and (folder.result() or {}).get("status") == "ok":
                return events.Stored(result=end.result, number_kept=folder.store(end.result))
            folder.take_in({name: files[name] for name in KEPT_FILES if name in files})
        return end

    return when_free(take_in, HELD_SECONDS)
