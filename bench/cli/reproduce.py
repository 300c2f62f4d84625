"""`bench reproduce CELL`: run a stored cell again from its own record and compare the numbers."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import FiniteRange, data_dir_option, plugin_option, results_option
from bench.cli.stored import stored_below
from bench.errors import BenchError


@click.command("reproduce")
@click.argument("cell", metavar="CELL")
@click.option("--dataset", metavar="PATH", help="Path of the data set, if it is one of your own.")
@click.option("--device", help="Where to compute.  [default: as recorded]")
@click.option(
    "--timeout", type=FiniteRange(min=1), help="How many seconds the fit may take.  [default: as recorded]"
)
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

    CELL is as for `bench show`. Settings, seed, sizes, precision, threads, device and deadline are taken from
    the record; if one of them must differ, a line says so. Nothing is stored. Each number is exact, within
    the stored 95 % interval (within 1 % if it has none), or off. Exit status 1: a number is off.
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
        click.echo(f"differs from the record: {clean(remark)}")
    now = again.run()
    if now.stopped and not stored.stopped:
        click.echo(
            f"differs from the record: the fit was ended early ({now.stopped}); give a longer --timeout"
        )
    comparisons = compare(stored, now)
    for one in comparisons:
        click.echo(f"{clean(one.metric)}: {clean(one.text)}")
    return 1 if any(one.verdict == "off" for one in comparisons) else 0
