"""Cells as jobs of a Slurm cluster, submitted through submitit: an array for each set of resources."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.run.executors import Elsewhere, Executor
from bench.run.job import Job, folder_of
from bench.run.worker import SCORING_SECONDS, begun_anew, kept, lost
from bench.util.processes import STOP_SECONDS, Event
from bench.util.text import unknown

WAIT_SECONDS = 2.0
QUEUE_SECONDS = 20.0
TIMES_QUEUED = 10
"""How often a job that reaches its time limit is queued again."""

DAY_MINUTES = 24 * 60
MEMORY_BESIDE = 4.0
"""GB that a job takes for all but the method's own processes."""

Options = Mapping[str, Any]


class SlurmCell:
    """The function that a Slurm job runs. At its time limit, and when it is preempted, it writes the cell's
    checkpoint and is queued again."""

    def __init__(self) -> None:
        self._running: list[Elsewhere] = []

    def __call__(self, job: Job) -> dict[str, Any]:
        self._running.append(Elsewhere(job))
        return self._running[-1].run()

    def checkpoint(self, job: Job) -> Any:
        """What is queued instead, when the running cell has stopped."""
        from submitit.helpers import DelayedSubmission

        for running in self._running:
            running.end()
        return DelayedSubmission(SlurmCell(), job)


def parse_options(given: Iterable[str], methods: Sequence[str]) -> dict[str, dict[str, str]]:
    """[METHOD.]NAME=VALUE as sbatch options by method; "" stands for all.

    Raises:
        BenchError: one is malformed or is for a method that is not run.
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
    """The sbatch options of a job; what the user gave for its method wins, then what is for all.

    Raises:
        BenchError: `time` is not a whole number of minutes.
    """
    machine = job["machine"]
    wanted: dict[str, Any] = {"cpus_per_task": machine["threads"], "time": DAY_MINUTES}
    if machine["timeout"] is not None:
        longest = machine["timeout"] + max(machine["timeout"], SCORING_SECONDS) + 600
        wanted["time"] = math.ceil(longest / 60)
    if machine["memory"] is not None:
        wanted["mem"] = f"{math.ceil(machine['memory'] + MEMORY_BESIDE)}GB"
    if machine["device"].startswith("cuda"):
        wanted["gpus_per_node"] = 1
    wanted |= {**options.get("", {}), **options.get(job["cell"]["source"]["name"], {})}
    try:
        wanted["time"] = int(wanted["time"])
    except ValueError:
        raise BenchError(f"--slurm time={wanted['time']} is no whole number of minutes") from None
    return wanted


def seats(sizes: Sequence[int], most: int | None) -> list[int | None]:
    """How many jobs of each array may run at a time, so that all together are no more than `most`.

    Each array has one seat, and the largest for its seats gets the next. With more arrays than `most` each
    keeps its one, and the later ones must wait for the earlier.
    """
    if most is None:
        return [None] * len(sizes)
    given = [1] * len(sizes)
    for _ in range(most - len(sizes)):
        crowded = max(range(len(sizes)), key=lambda place: sizes[place] / given[place])
        given[crowded] += 1
    return [*given]


class Slurm(Executor):
    """A Slurm job for each cell.

    Args:
        root: the results' root folder, seen by all nodes; the jobs' own files lie in `.slurm` below it.
        options: as `parse_options` gives them.
        most: how many jobs at a time; arrays with different resources share them. None for no limit.
        cluster: "slurm", or submitit's "local", which stands in for it on one machine.

    Raises:
        BenchError: submitit is not installed, or this machine is of no Slurm cluster.
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
        self._told: list[tuple[int, Event]] = []
        self._jobs: dict[int, tuple[Any, Job]] = {}
        self._noted: dict[int, Event] = {}
        self._gone: set[str] = set()
        self._absent: set[str] = set()
        self._looked = 0.0
        self._stopping = False
        # submitit's stand-in starts all it is given at once.
        self.room = most if cluster == "local" else None

    def __exit__(self, *reason: object) -> None:
        if self._jobs:
            self.stop(now=True)

    def start(self, number: int, job: Job) -> None:
        end = kept(job)
        if end is None and folder_of(job).running():
            # Another run has it; a job of ours would wait in the queue only to find that out.
            end = {"end": "held"}
        if end is not None:
            self._told.append((number, end))
        else:
            self._new.append((number, begun_anew(job)))

    def _submit(self) -> None:
        """Everything new, in an array for each set of resources."""
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
                    submitted = [executor.submit(SlurmCell(), job) for _, job in members]
            except (OSError, self._submitit.core.utils.FailedJobError) as error:
                why = f"sbatch refuses the jobs: {' '.join(str(error).split())}"
                self._told += [(number, {"end": "refused", "why": why}) for number, _ in members]
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

    def wait(self) -> list[tuple[int, Event]]:
        # Those that come later wait until all before them, who have the cap's seats, have ended.
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
            elif (noted := folder_of(job).noted()) and noted != self._noted.get(number):
                self._noted[number] = noted
                told.append((number, noted))
        return told

    def _end_of(self, one: Any, job: Job) -> Event | None:
        """What became of a job; None while it is running or waiting."""
        if one.paths.result_pickle.exists():
            try:
                end: Event = one.result()
            except Exception as error:
                # submitit raises what it was told of another process, whatever that is.
                end = self._failed(one, job, str(error))
        elif one.job_id not in self._gone:
            return None
        elif self._stopping:
            end = {"end": "stopped"}
        else:
            end = lost(job, f"its Slurm job {one.job_id} ended without a result; see {one.paths.stderr}")
        for file in (one.paths.result_pickle, one.paths.submitted_pickle):
            file.unlink(missing_ok=True)
        return end

    def _failed(self, one: Any, job: Job, error: str) -> Event:
        """A job that submitit gave up, or that failed outside of its cell."""
        if "timed-out too many times" not in error:
            return lost(job, f"its Slurm job {one.job_id} failed: {error}")
        advice = "give it more with --slurm time=MINUTES and go on with --rerun failed"
        return lost(
            job, f"its Slurm job reached its time limit {TIMES_QUEUED + 1} times; {advice}", "timeout"
        )

    def _look_for_the_gone(self) -> None:
        """Notice jobs that ended without a word: cancelled, over their memory, lost with their node."""
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
        # Absent twice: its result may take a moment to be seen over a network file system.
        self._gone = absent & self._absent
        self._absent = absent

    def stop(self, now: bool) -> None:
        self._stopping = True
        self._told += [(number, {"end": "stopped"}) for number, _ in self._new]
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
