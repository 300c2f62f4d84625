"""The options of `bench run` that say where cells run, and how many at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import FiniteRange, precision_option, timeout_option
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.run.executors import Executor
    from bench.run.machine import Machine

OPTIONS = (
    click.option(
        "--executor",
        type=click.Choice(["local", "ray", "slurm"]),
        default="local",
        show_default=True,
        help="Where cells run.",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        help="How many cells run at a time.  [default: one, or one for each GPU slot; on Ray all that fit]",
    ),
    click.option(
        "--gpu-slots",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="How many cells share one GPU.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="cpu; cuda for every GPU; or cuda:1, ... for one GPU.",
    ),
    precision_option,
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="CPU threads of each cell.  [default: this machine's cores, divided by --jobs]",
    ),
    timeout_option,
    click.option(
        "--memory",
        type=FiniteRange(min=0, min_open=True),
        metavar="GB",
        help="How much memory the processes of one method may use together.",
    ),
    click.option(
        "--address", help="Address of a running Ray cluster.  [default: one is started on this machine]"
    ),
    click.option(
        "--max-running",
        type=click.IntRange(min=1),
        help="How many Slurm jobs run at a time.  [default: all that fit]",
    ),
    click.option(
        "--slurm",
        "sbatch",
        multiple=True,
        metavar="[METHOD.]NAME=VALUE",
        help="An option of sbatch, for all jobs or those of one method: partition=gpu, prflow.mem=64GB.",
    ),
)


@dataclass(frozen=True)
class Place:
    """Where and how cells run, as the command line says; its fields are the options.

    Attributes:
        sbatch: of `--slurm`.
    """

    executor: str
    jobs: int | None
    gpu_slots: int
    device: str
    precision: str
    threads: int | None
    timeout: float | None
    memory: float | None
    address: str | None
    max_running: int | None
    sbatch: tuple[str, ...]

    def settle(
        self, data_dir: Path | None, results: Path, methods: Sequence[str]
    ) -> tuple[Machine, Executor]:
        """What each cell is told of its machine, and what runs them.

        Args:
            results: the results' root folder.
            methods: those that are run.

        Raises:
            BenchError: there is no such device, an option is another executor's, or a package is missing.
        """
        given: tuple[tuple[str, str, object], ...] = (
            ("address", "ray", self.address),
            ("max-running", "slurm", self.max_running),
            ("slurm", "slurm", self.sbatch),
        )
        for option, owner, value in given:
            if value and self.executor != owner:
                raise BenchError(f"--{option} is for --executor {owner}, not {self.executor}")
        if self.executor == "ray":
            return self._ray(data_dir)
        if self.executor == "slurm":
            return self._slurm(data_dir, results, methods)
        return self._local(data_dir)

    def _local(self, data_dir: Path | None) -> tuple[Machine, Executor]:
        from bench.run.executors.local import Local, places
        from bench.run.machine import gpus_of, machine_for, settle_device

        free = places(gpus_of(settle_device(self.device)), self.gpu_slots, self.jobs)
        machine = machine_for(
            self.device, self.precision, self.threads, data_dir, self.timeout, self.memory, len(free)
        )
        return machine, Local(free)

    def _ray(self, data_dir: Path | None) -> tuple[Machine, Executor]:
        from bench.run.executors.ray import Ray

        machine = self._elsewhere(data_dir)
        executor = Ray(self.address, machine.threads, self.gpu_slots, self.jobs)
        if self.device == "auto":
            machine = replace(machine, device="cuda" if executor.has_gpus else "cpu")
        elif self.device == "cuda" and not executor.has_gpus:
            raise BenchError("no node of the Ray cluster has a GPU; give --device cpu")
        return machine, executor

    def _slurm(
        self, data_dir: Path | None, results: Path, methods: Sequence[str]
    ) -> tuple[Machine, Executor]:
        from bench.run.executors.slurm import Slurm, parse_options

        if self.jobs is not None or self.gpu_slots > 1:
            raise BenchError(
                "--jobs and --gpu-slots are not for Slurm, which knows its nodes; use --max-running"
            )
        if self.device == "auto":
            raise BenchError("say --device cuda or --device cpu: what the nodes have is not known here")
        options = parse_options(self.sbatch, methods)
        return self._elsewhere(data_dir), Slurm(results, options, self.max_running)

    def _elsewhere(self, data_dir: Path | None) -> Machine:
        """For nodes that this machine knows nothing of.

        Raises:
            BenchError: the device is none that every node could have.
        """
        from bench.run.machine import Machine, cores

        if self.device not in ("auto", "cpu", "cuda"):
            raise BenchError(
                f"--device {self.device} is not for --executor {self.executor}, which gives each cell a GPU "
                "of its own; say cpu or cuda"
            )
        threads = self.threads or max(1, cores() // (self.jobs or 1))
        return Machine(self.device, threads, self.precision, data_dir, self.timeout, self.memory)


def executor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options; it gets them as one argument, `place`."""

    @functools.wraps(command)
    def call(**options: Any) -> Any:
        mine = {name: options.pop(name) for name in Place.__dataclass_fields__}
        return command(place=Place(**mine), **options)

    for option in reversed(OPTIONS):
        call = option(call)
    return call
