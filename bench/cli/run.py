"""`bench run`: methods x data sets x rates x seeds, each cell run, scored and stored."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from bench.cli.executor_options import Place, executor_options
from bench.cli.grid_options import grid_options
from bench.cli.options import data_dir_option, results_option
from bench.grid.grid import Grid


@click.command()
@grid_options
@executor_options
@click.option(
    "--rerun",
    type=click.Choice(["all", "failed"]),
    is_flag=False,
    flag_value="all",
    help="Run cells again that have a result; with `--rerun failed` only those that failed.",
)
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Also write the losses and scores of each cell for TensorBoard, to RESULTS/tensorboard.",
)
@data_dir_option
@results_option
def command(
    grid: Grid,
    place: Place,
    rerun: Literal["all", "failed"] | None,
    tensorboard: bool,
    data_dir: Path | None,
    results: Path,
) -> int:
    """Run methods on incomplete images and record how well they fill them in."""
    cells = grid.cells()
    from bench.run.run_cells import run_cells
    from bench.run.tensorboard import EventFiles

    write_events = EventFiles(results).write if tensorboard else None
    methods = list(dict.fromkeys(cell.source.name for cell in cells))
    machine, executor = place.settle(data_dir, results, methods)
    return run_cells(cells, results, machine, rerun, executor, write_events)
