"""`bench plan`: the cells of a grid, what is done of them, and how long the rest may take."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.grid_options import grid_options
from bench.cli.options import data_dir_option, results_option
from bench.grid import Grid


@click.command("plan")
@grid_options
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Cells at a time, as `bench run` is given it.",
)
@data_dir_option
@results_option
def command(grid: Grid, jobs: int, data_dir: Path | None, results: Path) -> int:
    """List the cells that `bench run` would run, and how long they may take.

    The time is that of stored cells of the same method, preset, sizes, settings and data set, at any rate
    and seed, on whatever machine they ran: fitting and imputing, without scoring. Cells that run at a time
    are taken to be as fast as these were. Nothing is run.
    """
    from bench.estimates import Estimates, duration, side_by_side
    from bench.results import read_results
    from bench.status import of_plan

    cells = grid.cells()
    stored, warnings = read_results(results)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    estimates = Estimates(stored)
    standings = of_plan(cells, results, data_dir)
    open_cells = [cell for cell, at in zip(cells, standings, strict=True) if at.state != "done"]
    for cell, standing in zip(cells, standings, strict=True):
        seconds = estimates.seconds(cell)
        time = duration(seconds) if seconds is not None else "?"
        click.echo(f"{standing.state:9}{time:>12}  {standing.title}")
    known = [seconds for cell in open_cells if (seconds := estimates.seconds(cell)) is not None]
    click.echo(f"{len(cells)} cells, {len(cells) - len(open_cells)} done, {len(open_cells)} to run")
    if known:
        how = "one after the other" if jobs == 1 else f"{jobs} at a time"
        click.echo(f"about {duration(side_by_side(known, jobs))} for {len(known)} of them, {how}")
    if len(known) < len(open_cells):
        click.echo(f"no stored cell tells the time of {len(open_cells) - len(known)} of them (?)")
    return 0
