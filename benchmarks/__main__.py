"""`python -m benchmarks`: measure, print the ratios, write them as JSON."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks import authors as originals
from benchmarks import harness, methods
from benchmarks.floor import matrix_rate
from benchmarks.processes import alone

SIDES = ("textbook", "ours")
EPOCHS = 2
RECORDS = Path("results/benchmarks")


@click.command()
@click.option("--steps", default=40, show_default=True, help="Training steps that are timed.")
@click.option("--images", default=2000, show_default=True, help="Images that are imputed, posed and scored.")
@click.option("--fit-images", default=10_000, show_default=True, help="Images of the fits to an RMSE.")
@click.option("--rounds", default=3, show_default=True, help="How often each side is measured, in turns.")
@click.option("--only", default=",".join(methods.METHODS), show_default=True, help="Methods, by commas.")
@click.option("--threads", default=os.cpu_count() or 1, show_default=True, help="CPU threads.")
@click.option(
    "--authors",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with checkouts of the authors' code: only a step of theirs and of ours is timed.",
)
@click.option("--output", type=click.Path(path_type=Path), help="[default: in results/benchmarks]")
def main(
    steps: int,
    images: int,
    fit_images: int,
    rounds: int,
    only: str,
    threads: int,
    authors: Path | None,
    output: Path | None,
) -> None:
    """Measure ours against the textbook, and what the harness costs; or ours against the authors' code."""
    names = [name for name in only.split(",") if name]
    if authors is not None:
        report = against(authors, [name for name in names if name in originals.WHERE], steps, rounds, threads)
        write(report, output or RECORDS / "authors.json")
        show_authors(report["methods"])
        return
    report = against_textbook(names, steps, images, fit_images, rounds, threads)
    write(report, output or RECORDS / "ratios.json")
    show(report)


def against(folder: Path, names: list[str], steps: int, rounds: int, threads: int) -> dict[str, Any]:
    """Seconds of a step, the authors' and ours."""
    return {
        "machine": machine(threads),
        "settings": {"steps": steps, "rounds": rounds},
        "methods": originals.compare(folder, names, steps, rounds, threads),
    }


def against_textbook(
    names: list[str], steps: int, images: int, fit_images: int, rounds: int, threads: int
) -> dict[str, Any]:
    """Ours against the textbook, and what the harness costs."""
    measured = {name: compared(name, steps, images, rounds, threads) for name in names}
    for name in names:
        add_reached(measured[name], name, fit_images, threads)
    return {
        "machine": machine(threads),
        "settings": {"steps": steps, "images": images, "fit_images": fit_images, "rounds": rounds},
        "methods": measured,
        "harness_seconds": harness.measure(images),
    }


def machine(threads: int) -> dict[str, Any]:
    """What was measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": threads,
        "matrix_gflop_per_second": alone(matrix_rate, threads) / 1e9,
    }


def write(report: dict[str, Any], output: Path) -> None:
    """Write the report as JSON."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n")
    click.echo(f"written to {output}")


def compared(name: str, steps: int, images: int, rounds: int, threads: int) -> dict[str, Any]:
    """Both sides' medians over the rounds, and the median of the rounds' ratios, ours over the textbook's."""
    taken: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            taken[side].append(alone(methods.measure, name, side, steps, images, threads))
    figures = taken["ours"][0].keys()
    result: dict[str, Any] = {
        side: {figure: median(one[figure] for one in taken[side]) for figure in figures} for side in SIDES
    }
    pairs = list(zip(taken["ours"], taken["textbook"], strict=True))
    result["ratio"] = {
        figure: median(ours[figure] / theirs[figure] for ours, theirs in pairs) for figure in figures
    }
    return result


def add_reached(result: dict[str, Any], name: str, images: int, threads: int) -> None:
    """Add the seconds of fitting until both sides are at the RMSE that the worse one ends with."""
    curves = {side: alone(methods.reach, name, side, images, EPOCHS, threads) for side in SIDES}
    target = max(curve[-1][1] for curve in curves.values())
    result["rmse"] = target
    for side, curve in curves.items():
        result[side]["seconds_to_rmse"] = next(seconds for seconds, rmse in curve if rmse <= target)
    result["ratio"]["seconds_to_rmse"] = (
        result["ours"]["seconds_to_rmse"] / result["textbook"]["seconds_to_rmse"]
    )


def show_authors(methods_seconds: dict[str, Any]) -> None:
    """A row for each method: milliseconds of a step, and how many times ours is as fast."""
    table = Table("a step, ms", *originals.SIDES, *(f"authors / {side}" for side in originals.SIDES[1:]))
    for name, found in methods_seconds.items():
        ratios = [f"{found[f'authors / {side}']:.2f}" for side in originals.SIDES[1:]]
        table.add_row(name, *(f"{found[side] * 1000:,.0f}" for side in originals.SIDES), *ratios)
    Console().print(table)


def show(report: dict[str, Any]) -> None:
    console = Console()
    table = Table("method", "figure", *SIDES, "ours / textbook")
    for name, result in report["methods"].items():
        for figure in result["ratio"]:
            values = [f"{result[side][figure]:,.1f}" for side in SIDES]
            title = figure.replace("_", " ")
            title += f" {result['rmse']:.3f}" if figure == "seconds_to_rmse" else ""
            table.add_row(name, title, *values, f"{result['ratio'][figure]:.2f}")
    console.print(table)
    costs = Table("harness", "seconds")
    for name, seconds in report["harness_seconds"].items():
        costs.add_row(name, f"{seconds:.2f}")
    console.print(costs)


if __name__ == "__main__":
    main()
