"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="BENCH_DATA",
    help="Where data sets are looked for first; BENCH_DATA otherwise.",
)

RESULTS = Path("results/runs")

results_option = click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=RESULTS,
    show_default=True,
    help="Where results are stored.",
)

plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A Python file that defines a method, named after the file; may be given again.",
)
