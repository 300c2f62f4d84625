"""`bench show CELL`: everything that is stored about one cell."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import data_dir_option, plugin_option, results_option
from bench.cli.stored import stored_below


@click.command("show")
@click.argument("cell", metavar="CELL")
@plugin_option
@data_dir_option
@results_option
def command(cell: str, plugins: tuple[Path, ...], data_dir: Path | None, results: Path) -> int:
    """Show what is stored about one cell: numbers, settings, origin, traceback, and the end of its log.

    CELL is DATASET/MECHANISM-RATE/METHOD/seed-N, as below the results, or the path of the cell's folder. Exit
    status 1: the cell is not done.
    """
    from bench.report.cell import failed_rerun, file_lines, log_lines, result_lines
    from bench.review.lookup import find_cell
    from bench.review.status import of_folder

    folder = find_cell(cell, stored_below(results))
    standing = of_folder(folder, plugins, data_dir)
    click.echo(f"{standing.title}: {standing.state}")
    for reason in standing.reasons:
        click.echo(f"  - {reason}")
    if standing.result is not None:
        for line in result_lines(standing.result):
            click.echo(line)
    failed = failed_rerun(folder)
    if failed is not None:
        click.echo(f"a later run failed; the number above stayed: {failed}")
    for title, lines in (("files", file_lines(folder)), ("end of the log", log_lines(folder))):
        if lines:
            click.echo(title)
            click.echo("\n".join(f"  {line}" for line in lines))
    return 0 if standing.state == "done" else 1
