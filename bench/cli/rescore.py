"""`bench rescore`: score stored imputations again, without fitting anything."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import data_dir_option, names_between_commas, results_option
from bench.cli.stored import choose_results, filter_options
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
    """Score stored imputations again, with the judges and metrics that are installed now.

    Use it after you have added FaceNet's weights, a better ResNet18 or a metric: nothing is fitted again. The
    RMSE must be the stored one; this proves that the imputation belongs to the result. For a data set of your
    own, give its path. Exit status 1: a cell could not be scored; its result is left as it was.
    """
    from bench.datasets import called
    from bench.review.rescoring import rescore

    refused = 0
    chosen = choose_results(results, preset, datasets, methods)
    known = {stored.cell.dataset for stored in chosen}
    given = {
        called(name): name
        for name in names_between_commas(datasets or "", lambda name: called(name) in known)
    }
    for stored in chosen:
        title = clean(str(stored.path.parent.relative_to(results)))
        try:
            now = rescore(stored, given.get(stored.cell.dataset), data_dir)
        except Exception as error:
            # A damaged file can raise nearly any error, and the other cells must be scored all the same.
            refused += 1
            why = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
            click.echo(f"{title}: left as it was: {clean(why)}", err=True)
            continue
        told = [_told(name, stored.metric(name), metric) for name, metric in now.metrics.items()]
        click.echo(f"{title}: {', '.join(filter(None, told)) or 'the same numbers'}")
    return 1 if refused else 0


def _told(name: str, before: Metric, now: Metric) -> str:
    """How one metric changed; "" if its number is printed as before."""
    if now.value is None:
        return f"{clean(name)} none ({now.reason})"
    old, new = ("none" if value is None else f"{value:.4g}" for value in (before.value, now.value))
    return "" if old == new else f"{clean(name)} {old} -> {new}"
