"""Jobs: a cell to be run, typed, and as JSON wherever it goes to another process or machine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from bench.grid.cell import Cell
from bench.grid.counting import Asked
from bench.problem.posing import PosedProblem
from bench.run.machine import Machine
from bench.store.cell_folder import CellFolder
from bench.store.provenance import command
from bench.util.files import expanded

Rerun = Literal["all", "failed", "anew"]
"""Which cells are run although they have a result: "all" of them from the beginning; those that "failed";
or "anew", all of them, but from their newest checkpoint."""


class _Job(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def as_json(self) -> dict[str, Any]:
        """The job as JSON, from which `model_validate` makes it again."""
        return self.model_dump(mode="json")


class Job(_Job):
    """A cell, and how a run asks for it.

    Attributes:
        results: the results' root folder.
        machine: where and how the cell runs; its precision "auto" is settled where it runs.
        rerun: as `Rerun`; None runs only what has no result.
        folder: the working folder of the run.
        environment: bench's variables there.
        command: the command line.
        before: the identity (`identity`) of the result that was stored when the job was given away; None
            for none.
    """

    cell: Cell
    results: Path
    machine: Machine
    rerun: Rerun | None
    folder: Path
    environment: dict[str, str]
    command: str
    before: tuple[str | None, str | None] | None = None

    @property
    def cell_folder(self) -> CellFolder:
        """Where the cell's result lies."""
        return CellFolder(self.results, self.cell.path)

    @property
    def asked(self) -> Asked:
        """What the run asks for beside the cell, for `bench.grid.counting`."""
        rerun = "all" if self.rerun == "anew" else self.rerun
        return Asked(rerun, self.machine.timeout, self.machine.precision)


class MethodJob(_Job):
    """What a method's process gets: no complete image, no label, and no folder that holds any.

    Attributes:
        reference, settings: the method (`bench.plugins.registry.Source`) and every setting's value.
        seed: of the cell.
        incomplete: the folder of the posed problem's incomplete arrays.
        checkpoints: the folder of the fit's checkpoints.
        output: the file that the imputation goes to.
        device, threads, precision, timeout, memory: as `Machine`.
    """

    reference: str
    settings: dict[str, Any]
    seed: int
    incomplete: Path
    checkpoints: Path
    output: Path
    device: str
    threads: int
    precision: str
    timeout: float | None
    memory: float | None


class CellJob(_Job):
    """What a cell's process gets.

    Attributes:
        method: what it hands on to the method's process.
        posed: the posed problem.
        folder: where what the cell writes lies until its result is stored.
        dataset: the name or the path of the data set.
        data_dir: as `Machine`.
    """

    method: MethodJob
    posed: PosedProblem
    folder: Path
    dataset: str
    data_dir: Path | None


def new_job(cell: Cell, root: Path, machine: Machine, rerun: Rerun | None) -> Job:
    """A cell as a job.

    Args:
        root: the results' root folder.
        machine: where and how.
        rerun: as `Job.rerun`.
    """
    data_dir = None if machine.data_dir is None else expanded(machine.data_dir).resolve()
    return Job(
        cell=cell,
        results=root.resolve(),
        machine=replace(machine, data_dir=data_dir),
        rerun=rerun,
        folder=Path.cwd(),
        environment={name: value for name, value in os.environ.items() if name.startswith("BENCH_")},
        command=command(),
    )


def identity(result: dict[str, Any] | None) -> tuple[str | None, str | None] | None:
    """What tells a stored result from an earlier one of the same cell: its key and its date."""
    return None if result is None else (result.get("key"), result.get("provenance", {}).get("date"))
