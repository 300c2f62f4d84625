"""`bench reproduce CELL`: a stored cell run again from its own record, the numbers compared."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import FiniteRange, data_dir_option, plugin_option, results_option
from bench.cli.stored import stored_below
from bench.errors import BenchError


@click.command("reproduce")
@click.argument("cell", metavar="CELL")
@click.option("--dataset", metavar="PATH", help="The data set, where it is known by its path only.")
@click.option("--device", help="Where to compute; as recorded otherwise.")
@click.option("--timeout", type=FiniteRange(min=1), help="Seconds the fit may take; as recorded otherwise.")
@plugin_option
@data_dir_option
@results_option
def command(
    cell: str,
    dataset: str | None,
    device: str | None,
    timeout: float | None,
    plugins: tuple[Path, ...],
    data_dir: Path | None,
    results: Path,
) -> int:
    """Run a stored cell again from its own record and say how far each number differs.

    CELL is as for `bench show`. Settings, seed, sizes, precision, threads, device and deadline are those of
    the record; what cannot be as it was is told. Nothing is stored. A number is exact, within the stored 95 %
    interval (within 1 % where it has none), or off. Exit status 1: one is off.
    """
    from bench.review.lookup import find_cell
    from bench.review.reproduction import compare, prepare
    from bench.store.results import read_result
    from bench.util.text import clean

    path = find_cell(cell, stored_below(results)) / "result.json"
    try:
        stored = read_result(path)
    except ValueError as error:
        raise BenchError(f"{clean(str(path))} {error}; there is nothing to run again") from None
    again = prepare(stored, plugins, dataset, data_dir, device, timeout)
    for remark in again.remarks:
        click.echo(f"not as it was: {clean(remark)}")
    now = again.run()
    if now.stopped and not stored.stopped:
        click.echo(f"not as it was: the fit ended early now ({now.stopped}); a longer --timeout lets it end")
    comparisons = compare(stored, now)
    for one in comparisons:
        click.echo(f"{clean(one.metric)}: {clean(one.text)}")
    return 1 if any(one.verdict == "off" for one in comparisons) else 0
