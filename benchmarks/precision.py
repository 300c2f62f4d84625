"""`python -m benchmarks.precision`: RMSE and fitting time of each method in float32 and in bfloat16.

Cells are run by `bench run`, so one that has a result is not run again, and a fit that was stopped goes on.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import mean

import click
from rich.console import Console
from rich.table import Table

from bench.store.results import Result, read_results

METHODS = "mcflow,prflow,misgan,pbigan,unet,miwae,gain"
PRECISIONS = ("float32", "bfloat16")


def run(methods: str, seeds: str, preset: str, threads: int | None, results: Path) -> None:
    """The cells of both precisions, a method at a time, so that the first rows are whole early."""
    script = Path(sys.executable).with_name("bench")
    common = ["--dataset", "mnist", "--rates", "0.8", "--seeds", seeds, "--preset", preset]
    common += [] if threads is None else ["--threads", str(threads)]
    for method in methods.split(","):
        for precision in PRECISIONS:
            place = ["--precision", precision, "--results", str(results / precision)]
            subprocess.run([script, "run", "--methods", method, *common, *place])


def show(results: Path, methods: str, preset: str, console: Console) -> None:
    """A row for each method: RMSE of each seed in both precisions, and the mean seconds of a fit."""
    table = Table("MNIST at 0.8", *PRECISIONS, "difference of means", "spread of float32", "fit, s")
    stored = {name: read_results(results / name)[0] for name in PRECISIONS}
    for method in methods.split(","):
        cells = [cells_of(stored[name], method, preset) for name in PRECISIONS]
        if all(cells):
            table.add_row(method, *row(cells[0], cells[1]))
    console.print(table)


def cells_of(stored: list[Result], method: str, preset: str) -> list[Result]:
    """The method's cells with a number, by seed."""
    found = [result for result in stored if result.ok and result.cell.method == method]
    return sorted((it for it in found if it.cell.preset == preset), key=lambda it: it.cell.seed or 0)


def row(float32: list[Result], bfloat16: list[Result]) -> list[str]:
    """What the table tells of a method."""
    first, second = rmse_of(float32), rmse_of(bfloat16)
    seconds = [mean(it.cost.fit_seconds or 0 for it in cells) for cells in (float32, bfloat16)]
    return [
        ", ".join(f"{value:.4f}" for value in first),
        ", ".join(f"{value:.4f}" for value in second),
        f"{mean(second) - mean(first):+.4f}",
        f"{max(first) - min(first):.4f}",
        f"{seconds[0]:.0f} / {seconds[1]:.0f}",
    ]


def rmse_of(cells: list[Result]) -> list[float]:
    return [value for it in cells if (value := it.metrics["rmse"].value) is not None]


@click.command()
@click.option("--methods", default=METHODS, show_default=True, help="Methods, by commas.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Seeds, by commas.")
@click.option("--preset", default="quick", show_default=True)
@click.option("--threads", type=int, help="CPU threads of a cell.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results/benchmarks/precision"))
def main(methods: str, seeds: str, preset: str, threads: int | None, results: Path) -> None:
    """Run what has no result yet, and print the table."""
    run(methods, seeds, preset, threads, results)
    show(results, methods, preset, Console())


if __name__ == "__main__":
    main()
