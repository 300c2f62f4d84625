"""`bench rescore`: stored imputations scored again, without fitting anything."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import data_dir_option, results_option
from bench.cli.stored import choose_results, comma_separated, filter_options
from bench.errors import BenchError
from bench.store.results import Metric
from bench.util.text import clean


@click.command("rescore")
@data_dir_option
@filter_options
@results_option
def command(
    data_dir: Path | None, preset: str | None, datasets: str | None, methods: str | None, results: Path
) -> int:
    """Score stored imputations again, by the judges and metrics that are there now.

    For when FaceNet's weights, a better ResNet18 or a metric came after the runs: nothing is fitted again.
    The RMSE must come out as stored, which proves an imputation to be the result's own. A data set that is
    known by its path only is named by the path. Exit status 1: a cell could not be scored; it is as it was.
    """
    from bench.datasets import called
    from bench.review.rescoring import rescore

    given = {called(name): name for name in comma_separated(datasets)}
    refused = 0
    for stored in choose_results(results, preset, datasets, methods):
        title = clean(str(stored.path.parent.relative_to(results)))
        try:
            now = rescore(stored, given.get(stored.cell.dataset), data_dir)
        except Exception as error:
            # A file from elsewhere can raise nearly anything, which must not cost the other cells.
            refused += 1
            why = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
            click.echo(f"{title}: left as it was: {clean(why)}", err=True)
            continue
        told = [_told(name, stored.metric(name), metric) for name, metric in now.metrics.items()]
        click.echo(f"{title}: {', '.join(filter(None, told)) or 'the same numbers'}")
    return 1 if refused else 0


def _told(name: str, before: Metric, now: Metric) -> str:
    """What became of one metric; "" where its number prints as before."""
    if now.value is None:
        return f"{clean(name)} none ({now.reason})"
    old, new = ("none" if value is None else f"{value:.4g}" for value in (before.value, now.value))
    return "" if old == new else f"{clean(name)} {old} -> {new}"
