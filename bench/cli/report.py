"""`bench report`: stored results as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import GivenPath, results_option
from bench.cli.stored import choose_results, filter_options, grouped, stored_below, write_output


@click.command("report")
@results_option
@click.option("--output", type=GivenPath(), help="Folder for the page.  [default: RESULTS/report]")
@filter_options
@click.option("--compare", type=click.Choice(["published"]), help="Show the paper's numbers beside ours.")
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=24,
    show_default=True,
    help="How many stored test images to show, evenly spaced; more make a larger page.",
)
def command(
    results: Path,
    output: Path | None,
    preset: str | None,
    datasets: str | None,
    methods: str | None,
    compare: str | None,
    images: int,
) -> int:
    """Write stored results as one HTML page that needs no network.

    The page shows tables that can be sorted and filtered, curves, test images of all methods and rates,
    failed cells, where the numbers come from, citations, and for each cell the command that runs it again.
    Exit status 1: a cell on the page failed.
    """
    root = stored_below(results)
    chosen = choose_results(root, preset, datasets, methods)
    from bench.report.html.page import render

    page = render(grouped(chosen), root, compare is not None, images)
    path = (output or results / "report") / "index.html"
    write_output(path, page)
    click.echo(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0 if all(result.ok for result in chosen) else 1
