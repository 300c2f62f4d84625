"""A cell to be run, as plain JSON that can go to another process or machine."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from bench.grid.cell import Cell
from bench.plugins.registry import Description, Setting, Source
from bench.problem.posing import Problem
from bench.run.machine import Machine
from bench.store.cell_folder import CellFolder
from bench.store.provenance import command
from bench.util.files import expanded

Job = dict[str, Any]


def new_job(cell: Cell, root: Path, machine: Machine, rerun: str | None) -> Job:
    """A cell as JSON.

    Args:
        cell: what to run.
        root: the results' root folder.
        machine: where and how.
        rerun: "all" runs it even where a result is stored, "failed" where that is a failure.
    """
    data_dir = None if machine.data_dir is None else str(expanded(machine.data_dir).resolve())
    return {
        "cell": dataclasses.asdict(cell),
        "path": str(cell.path),
        "results": str(root.resolve()),
        "machine": dataclasses.asdict(machine) | {"data_dir": data_dir},
        "rerun": rerun,
        "folder": str(Path.cwd()),
        "environment": {name: value for name, value in os.environ.items() if name.startswith("BENCH_")},
        "command": command(),
    }


def cell_of(job: Job) -> Cell:
    """The cell that a job holds."""
    given = job["cell"]
    problem: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given["problem"].items()
    }
    about = dict(given["description"])
    about["settings"] = {name: Setting(**facts) for name, facts in about["settings"].items()}
    about["requires"] = tuple(about["requires"])
    parts = {
        "problem": Problem(**problem),
        "source": Source(**given["source"]),
        "description": Description(**about),
    }
    return Cell(**given | parts)


def machine_of(job: Job) -> Machine:
    """Where and how a job runs."""
    given = dict(job["machine"])
    given["data_dir"] = None if given["data_dir"] is None else Path(given["data_dir"])
    if given["precision"] == "auto":
        from bench.run.machine import has_fast_bfloat16

        given["precision"] = "bfloat16" if has_fast_bfloat16(given["device"]) else "float32"
    return Machine(**given)


def folder_of(job: Job) -> CellFolder:
    """The folder of a job's cell."""
    return CellFolder(Path(job["results"]), Path(job["path"]))
