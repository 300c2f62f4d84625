"""`python -m benchmarks.precision`: RMSE and fitting time of each method in float32 and in bfloat16.

Cells are run by `bench run`, so one that has a result is not run again, and a fit that was stopped goes on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

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


def record(results: Path, methods: str, preset: str) -> dict[str, Any]:
    """What each method with cells in both precisions came to, and where it was measured."""
    stored = {name: read_results(results / name)[0] for name in PRECISIONS}
    report: dict[str, Any] = {"dataset": "mnist", "rate": 0.8, "preset": preset, "methods": {}}
    for method in methods.split(","):
        cells = {name: cells_of(stored[name], method, preset) for name in PRECISIONS}
        if all(cells.values()):
            report["methods"][method] = {name: summary(found) for name, found in cells.items()}
    return report


def cells_of(stored: list[Result], method: str, preset: str) -> list[Result]:
    """The method's cells with a number, by seed."""
    found = [result for result in stored if result.ok and result.cell.method == method]
    return sorted((it for it in found if it.cell.preset == preset), key=lambda it: it.cell.seed or 0)


def summary(cells: list[Result]) -> dict[str, Any]:
    """What is recorded of a method's cells in one precision."""
    first = cells[0].provenance
    return {
        "rmse": [value for it in cells if (value := it.metrics["rmse"].value) is not None],
        "fit_seconds": mean(it.cost.fit_seconds or 0 for it in cells),
        "threads": first["threads"],
        "machine": first["machine"],
        "commit": first["commit"],
    }


def show(report: dict[str, Any], console: Console) -> None:
    """A row for each method: RMSE of each seed in both precisions, and the mean seconds of a fit."""
    table = Table("MNIST at 0.8", *PRECISIONS, "difference of means", "spread of float32", "fit, s")
    for method, found in report["methods"].items():
        first, second = (found[name]["rmse"] for name in PRECISIONS)
        table.add_row(
            method,
            *(", ".join(f"{value:.4f}" for value in values) for values in (first, second)),
            f"{mean(second) - mean(first):+.4f}",
            f"{max(first) - min(first):.4f}",
            " / ".join(f"{found[name]['fit_seconds']:.0f}" for name in PRECISIONS),
        )
    console.print(table)


@click.command()
@click.option("--methods", default=METHODS, show_default=True, help="Methods, by commas.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Seeds, by commas.")
@click.option("--preset", default="quick", show_default=True)
@click.option("--threads", type=int, help="CPU threads of a cell.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results/runs/precision"), help="Cells."
)
@click.option("--output", type=click.Path(path_type=Path), default=Path("results/benchmarks/precision.json"))
def main(methods: str, seeds: str, preset: str, threads: int | None, results: Path, output: Path) -> None:
    """Run the cells that have no result yet, write what they came to, and print the table."""
    run(methods, seeds, preset, threads, results)
    report = record(results, methods, preset)
    output.write_text(json.dumps(report, indent=2) + "\n")
    show(report, Console())


if __name__ == "__main__":
    main()
