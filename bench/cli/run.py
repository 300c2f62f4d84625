"""`bench run`: methods x data sets x rates x seeds, each cell run, scored and stored."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.grid_options import grid_options
from bench.cli.options import data_dir_option, results_option
from bench.grid import Grid


@click.command()
@grid_options
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Of matrix products; auto takes bfloat16 where the hardware is faster with it.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of a method; all cores otherwise.")
@click.option("--timeout", type=click.FloatRange(min=1), help="Seconds a fit may take.")
@click.option("--rerun", is_flag=True, help="Run cells again that are done.")
@data_dir_option
@results_option
def command(
    grid: Grid,
    device: str,
    precision: str,
    threads: int | None,
    timeout: float | None,
    rerun: bool,
    data_dir: Path | None,
    results: Path,
) -> int:
    """Run methods on incomplete images and record how well they fill them in."""
    cells = grid.cells()
    from bench.hardware import machine_for
    from bench.running import run_cells

    machine = machine_for(device, precision, threads, data_dir, timeout)
    return run_cells(cells, results, machine, rerun)
