"""`bench status`: what is done, running, failed and missing, and why a stored cell does not count."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.grid_options import grid_options
from bench.cli.options import data_dir_option, results_option
from bench.cli.stored import say_rekeyed, stored_below
from bench.errors import BenchError
from bench.grid.grid import Grid


@click.command("status")
@grid_options
@data_dir_option
@results_option
def command(grid: Grid, data_dir: Path | None, results: Path) -> int:
    """Say where each cell stands: done, running, failed, outdated or missing; and why.

    With the options of a grid, the cells that it asks for; without, all that have a folder in the results.
    Outdated is a number whose settings, code, protocol or pixels are not those that would run now; the
    reasons tell which. Exit status 1: not all of them are done.
    """
    from bench.review.status import STATES, of_plan, of_store

    # Half a grid is a mistake, which `cells` tells; nothing at all means whatever is stored.
    if grid.overrides or {*grid.asked["from"].values()} - {"default"}:
        standings = of_plan(grid.cells(), results, data_dir)
    else:
        standings = of_store(stored_below(results), grid.plugins, data_dir)
    if not standings:
        raise BenchError(
            f"no cells below {results}; make some with: bench run --methods prflow --dataset mnist"
        )
    for standing in standings:
        click.echo(f"{standing.state:9} {standing.title}")
        for reason in standing.reasons:
            click.echo(f"          - {reason}")
    counts = {state: sum(one.state == state for one in standings) for state in STATES}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    click.echo(f"{len(standings)} cells: {told}")
    say_rekeyed(one.result for one in standings if one.state == "done" and one.result is not None)
    return 0 if counts["done"] == len(standings) else 1
