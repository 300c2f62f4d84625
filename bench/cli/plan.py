"""`bench plan`: the cells of a grid, which of them are done, and how long the others may take."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.grid_options import grid_options
from bench.cli.options import data_dir_option, precision_option, results_option, timeout_option
from bench.grid.grid import Grid
from bench.util.text import counted

LEFT_ALONE = ("done", "failed")
"""The states of cells that a run leaves as they are."""


@click.command("plan")
@grid_options
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many cells run at a time, as for `bench run`.",
)
@precision_option
@timeout_option
@data_dir_option
@results_option
def command(
    grid: Grid, jobs: int, precision: str, timeout: float | None, data_dir: Path | None, results: Path
) -> int:
    """List the cells that `bench run` would run, and how long they may take.

    The same options do not run a cell again that is done or has failed. A cell is outdated, and is run
    again, if its stored result is of other settings, code or pixels, or if a deadline ended its fit and the
    deadline is later now.

    The time is that of stored cells with the same method, preset, sizes, settings and data set, at any rate
    and seed and on any machine: fitting and imputing, without scoring. Cells that run side by side are
    assumed to be as fast as these were. Nothing is run.
    """
    from bench.grid.counting import Asked
    from bench.grid.estimates import Estimates, duration, side_by_side
    from bench.review.status import of_plan
    from bench.run.machine import settle_precision
    from bench.store.results import read_results

    cells = grid.cells()
    stored, warnings = read_results(results)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    estimates = Estimates(stored)
    # Only a precision that the user asked for is compared; settling the default would import torch.
    by_default = grid.asked["from"].get("precision", "default") == "default"
    wanted = None if by_default else settle_precision(precision, "cpu", bfloat16=True)
    asked = Asked(timeout=timeout, precision=wanted)
    standings = of_plan(cells, results, data_dir, asked)
    states = [standing.state for standing in standings]
    for cell, standing in zip(cells, standings, strict=True):
        seconds = estimates.seconds(cell)
        time = duration(seconds) if seconds is not None else "?"
        click.echo(f"{standing.state:9}{time:>12}  {standing.title}")
    open_cells = [cell for cell, state in zip(cells, states, strict=True) if state not in LEFT_ALONE]
    known = [seconds for cell in open_cells if (seconds := estimates.seconds(cell)) is not None]
    failed = f", {states.count('failed')} failed" if "failed" in states else ""
    click.echo(
        f"{counted(len(cells), 'cell')}, {states.count('done')} done{failed}, {len(open_cells)} to run"
    )
    if failed:
        click.echo("`bench run --rerun failed` tries the failed ones again")
    if known:
        how = "one after the other" if jobs == 1 else f"{jobs} at a time"
        click.echo(f"about {duration(side_by_side(known, jobs))} for {len(known)} of them, {how}")
    if len(known) < len(open_cells):
        click.echo(f"no stored cell tells the time of {len(open_cells) - len(known)} of them (?)")
    return 0
