"""`bench plan`: the cells of a grid, which of them are done, and how long the others may take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.grid_options import grid_options
from bench.cli.options import data_dir_option, precision_option, results_option, timeout_option
from bench.grid.grid import Grid

if TYPE_CHECKING:
    from bench.review.status import Standing
    from bench.run.job import Job

SKIPPED = ("done", "failed")
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

    A run with the same options does not run cells again that are done or failed. It runs outdated cells
    again: their result was made with other settings, code or pixels, or a deadline ended it that is longer
    now.

    Times come from stored cells of the same method, preset, sizes, settings and data set, at any rate and
    seed and on any machine. They are of fitting and imputing, without scoring, and do not consider that cells
    that run at the same time slow each other down. Nothing is run.
    """
    from bench.grid.estimates import Estimates, duration, side_by_side
    from bench.review.status import of_plan
    from bench.run.job import new_job
    from bench.run.machine import Machine
    from bench.store.results import read_results

    cells = grid.cells()
    stored, warnings = read_results(results)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    estimates = Estimates(stored)
    standings = of_plan(cells, results, data_dir)
    machine = Machine("cpu", 1, precision, data_dir, timeout)
    states = [
        _state(standing, new_job(cell, results, machine, rerun=None))
        for cell, standing in zip(cells, standings, strict=True)
    ]
    for cell, standing, state in zip(cells, standings, states, strict=True):
        seconds = estimates.seconds(cell)
        time = duration(seconds) if seconds is not None else "?"
        click.echo(f"{state:9}{time:>12}  {standing.title}")
    open_cells = [cell for cell, state in zip(cells, states, strict=True) if state not in SKIPPED]
    known = [seconds for cell in open_cells if (seconds := estimates.seconds(cell)) is not None]
    failed = f", {states.count('failed')} failed" if "failed" in states else ""
    click.echo(f"{len(cells)} cells, {states.count('done')} done{failed}, {len(open_cells)} to run")
    if failed:
        click.echo("`bench run --rerun failed` tries the failed ones again")
    if known:
        how = "one after the other" if jobs == 1 else f"{jobs} at a time"
        click.echo(f"about {duration(side_by_side(known, jobs))} for {len(known)} of them, {how}")
    if len(known) < len(open_cells):
        click.echo(f"no stored cell tells the time of {len(open_cells) - len(known)} of them (?)")
    return 0


def _state(standing: Standing, job: Job) -> str:
    """Where a cell stands as a run takes it, which looks at the deadline and the precision too."""
    from bench.run.worker import kept

    if standing.result is None or standing.state == "running":
        return standing.state
    end = kept(job)
    if end is None:
        return "outdated"
    if end["end"] == "refused":
        return standing.state
    return "done" if end["result"]["status"] == "ok" else "failed"
