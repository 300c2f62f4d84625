"""Cells as jobs of a Slurm cluster, submitted through submitit, in an array for each set of resources."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.run import events
from bench.run.executors import Elsewhere, Executor
from bench.run.executors.queued import begun_anew, kept, lost
from bench.run.job import Job
from bench.run.watching import SCORING_SECONDS
from bench.util.processes import STOP_SECONDS
from bench.util.text import unknown

WAIT_SECONDS = 2.0
QUEUE_SECONDS = 20.0
TIMES_QUEUED = 10
"""How often a job that reaches its time limit is queued again."""

DAY_MINUTES = 24 * 60
MEMORY_BESIDE = 4.0
"""GB that a job takes beside what the method's own processes hold."""

Options = Mapping[str, Any]


class SlurmCell:
    """The function that a Slurm job runs; it takes and returns JSON.

    At its time limit, and when the job is preempted, it writes the cell's checkpoint and is queued again.
    """

    def __init__(self) -> None:
        self._running: list[Elsewhere] = []

    def __call__(self, given: dict[str, Any]) -> str:
        running = Elsewhere(Job.model_validate(given))
        self._running.append(running)
        return events.end_as_json(running.run())

    def checkpoint(self, given: dict[str, Any]) -> Any:
        """Stop the running cell, and return what is queued in its place."""
        from submitit.helpers import DelayedSubmission

        for running in self._running:
            running.end()
        return DelayedSubmission(SlurmCell(), given)


def parse_options(given: Iterable[str], methods: Sequence[str]) -> dict[str, dict[str, str]]:
    """[METHOD.]NAME=VALUE as sbatch options by method; those under "" are for all methods.

    Raises:
        BenchError: an option is malformed, or is for a method that is not run.
    """
    options: dict[str, dict[str, str]] = {"": {}}
    for one in given:
        target, equals, value = one.partition("=")
        method, dot, name = target.rpartition(".")
        if not equals or not name:
            raise BenchError(
                f"--slurm {one!r} is not [METHOD.]NAME=VALUE, as in partition=gpu or prflow.mem=64GB"
            )
        if dot and method not in methods:
            raise BenchError(unknown("method in --slurm", method, methods))
        options.setdefault(method, {})[name.replace("-", "_")] = value
    return options


def resources(job: Job, options: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The sbatch options of a job. What the user gave for its method wins, then what is for all methods.

    Raises:
        BenchError: `time` is not a whole number of minutes.
    """
    machine = job.machine
    wanted: dict[str, Any] = {"cpus_per_task": machine.threads, "time": DAY_MINUTES}
    if machine.timeout is not None:
        longest = machine.timeout + max(machine.timeout, SCORING_SECONDS) + 600
        wanted["time"] = math.ceil(longest / 60)
    if machine.memory is not None:
        wanted["mem"] = f"{math.ceil(machine.memory + MEMORY_BESIDE)}GB"
    if machine.device.startswith("cuda"):
        wanted["gpus_per_node"] = 1
    wanted |= {**options.get("", {}), **options.get(job.cell.source.name, {})}
    try:
        wanted["time"] = int(wanted["time"])
    except ValueError:
        raise BenchError(f"--slurm time={wanted['time']} is no whole number of minutes") from None
    return wanted


def seats(sizes: Sequence[int], most: int | None) -> list[int | None]:
    """How many jobs of each array may run at a time, so that no more than `most` run together.

    Each array gets one seat. Each further seat goes to the array with the most jobs a seat. If there are more
    arrays than `most`, each has its one seat, and the later arrays must wait for the earlier.

    Args:
        sizes: how many jobs each array has.
        most: None for no limit.
    """
    if most is None:
        return [None] * len(sizes)
    given = [1] * len(sizes)
    for _ in range(most - len(sizes)):
        crowded = max(range(len(sizes)), key=lambda place: sizes[place] / given[place])
        given[crowded] += 1
    return [*given]


class Slurm(Executor):
    """Runs a Slurm job for each cell.

    Args:
        root: the results' root folder, which all nodes see; the jobs' own files lie in `.slurm` below it.
        options: as `parse_options` gives them.
        most: how many jobs run at a time, of all arrays together; None for no limit.
        cluster: "slurm", or submitit's "local", which stands in for it on one machine.

    Raises:
        BenchError: submitit is not installed, or this machine belongs to no Slurm cluster.
    """

    def __init__(
        self, root: Path, options: Mapping[str, Mapping[str, str]], most: int | None, cluster: str = "slurm"
    ) -> None:
        try:
            import submitit
        except ImportError:
            raise BenchError(
                "--executor slurm needs the package submitit; install it with: pip install submitit"
            ) from None
        if cluster == "slurm" and shutil.which("srun") is None:
            raise BenchError("there is no srun here; run this on a machine of the Slurm cluster")
        self._submitit = submitit
        self._folder = root.resolve() / ".slurm" / "%j"
        self._options = options
        self._most = most
        self._cluster = cluster
        self._new: list[tuple[int, Job]] = []
        self._told: list[tuple[int, events.Told]] = []
        self._jobs: dict[int, tuple[Any, Job]] = {}
        self._noted: dict[int, events.News] = {}
        self._gone: set[str] = set()
        self._absent: set[str] = set()
        self._looked = 0.0
        self._stopping = False
        # submitit's stand-in starts all jobs at once.
        self.room = most if cluster == "local" else None

    def __exit__(self, *reason: object) -> None:
        if self._jobs:
            self.stop(now=True)

    def start(self, number: int, job: Job) -> None:
        end = kept(job)
        if end is None and job.cell_folder.running():
            # Another run has the cell. A job would wait in the queue only to find that out.
            end = events.Held()
        if end is not None:
            self._told.append((number, end))
        else:
            self._new.append((number, begun_anew(job)))

    def _submit(self) -> None:
        """Submit all that is new, in an array for each set of resources."""
        arrays: dict[str, list[tuple[int, Job]]] = {}
        for number, job in self._new:
            wanted = resources(job, self._options)
            arrays.setdefault(repr(sorted(wanted.items())), []).append((number, job))
        self._new = []
        shares = seats([len(members) for members in arrays.values()], self._most)
        before: list[str] = []
        for members, share in zip(arrays.values(), shares, strict=True):
            wanted = resources(members[0][1], self._options)
            if self._most is not None and len(before) >= self._most:
                wanted["dependency"] = f"afterany:{before[-self._most]}"
            executor = self._executor(wanted, share)
            try:
                with executor.batch():
                    submitted = [executor.submit(SlurmCell(), job.as_json()) for _, job in members]
            except (OSError, self._submitit.core.utils.FailedJobError) as error:
                why = f"sbatch refuses the jobs: {' '.join(str(error).split())}"
                self._told += [(number, events.Refused(why=why)) for number, _ in members]
                continue
            before.append(submitted[0].job_id.partition("_")[0])
            for (number, job), one in zip(members, submitted, strict=True):
                self._jobs[number] = one, job

    def _executor(self, wanted: Options, share: int | None) -> Any:
        executor = self._submitit.AutoExecutor(
            folder=self._folder, cluster=self._cluster, slurm_max_num_timeout=TIMES_QUEUED
        )
        own = dict(wanted)
        executor.update_parameters(name="bench", timeout_min=own.pop("time"))
        slurm = {"slurm_additional_parameters": own, "slurm_signal_delay_s": int(2 * STOP_SECONDS)}
        if share is not None:
            slurm["slurm_array_parallelism"] = share
        executor.update_parameters(**slurm)
        return executor

    def wait(self) -> list[tuple[int, events.Told]]:
        # The jobs before have the cap's seats: those that come later wait until all of them have ended.
        full = self._most is not None and self.room is None and self._jobs
        if self._new and not self._stopping and not full:
            self._submit()
        told, self._told = self._told, []
        if not told:
            time.sleep(WAIT_SECONDS)
        self._look_for_the_gone()
        for number, (one, job) in [*self._jobs.items()]:
            end = self._end_of(one, job)
            if end is not None:
                del self._jobs[number]
                told.append((number, end))
            elif (news := events.news_of(job.cell_folder.noted())) and news != self._noted.get(number):
                self._noted[number] = news
                told.append((number, news))
        return told

    def _end_of(self, one: Any, job: Job) -> events.End | None:
        """What has become of a job; None while it is running or waiting."""
        if one.paths.result_pickle.exists():
            try:
                end = events.read_end(one.result())
            except Exception as error:
                # submitit raises whatever the other process raised.
                end = self._failed(one, job, str(error))
        elif one.job_id not in self._gone:
            return None
        elif self._stopping:
            end = events.Stopped()
        else:
            end = lost(job, f"its Slurm job {one.job_id} ended without a result; see {one.paths.stderr}")
        for file in (one.paths.result_pickle, one.paths.submitted_pickle):
            file.unlink(missing_ok=True)
        return end

    def _failed(self, one: Any, job: Job, error: str) -> events.End:
        """What has become of a job that submitit gave up, or that failed outside of its cell."""
        if "timed-out too many times" not in error:
            return lost(job, f"its Slurm job {one.job_id} failed: {error}")
        advice = "give it more with --slurm time=MINUTES and go on with --rerun failed"
        return lost(
            job, f"its Slurm job reached its time limit {TIMES_QUEUED + 1} times; {advice}", "timeout"
        )

    def _look_for_the_gone(self) -> None:
        """Notice the jobs that ended silently: cancelled, over their memory, or lost with their node."""
        if self._cluster == "local":
            self._gone = {one.job_id for one, _ in self._jobs.values() if one.done()}
            return
        now = time.monotonic()
        if now - self._looked < (WAIT_SECONDS if self._stopping else QUEUE_SECONDS):
            return
        self._looked = now
        queue = subprocess.run(
            ["squeue", "--me", "--noheader", "--array", "--format=%i"], capture_output=True, text=True
        )
        if queue.returncode:
            return
        absent = {one.job_id for one, _ in self._jobs.values()} - {*queue.stdout.split()}
        # A result may take a moment to be seen over a network file system, so a job must be absent twice.
        self._gone = absent & self._absent
        self._absent = absent

    def stop(self, now: bool) -> None:
        self._stopping = True
        self._told += [(number, events.Stopped()) for number, _ in self._new]
        self._new = []
        jobs = [one for one, _ in self._jobs.values()]
        if self._cluster == "local":
            for one in jobs:
                one.cancel()
        elif jobs:
            names = [one.job_id for one in jobs]
            calls = [[]] if now else [["--state=PENDING"], ["--state=RUNNING", "--signal=INT"]]
            for options in calls:
                subprocess.run(["scancel", *options, *names], capture_output=True)
