"""`python -m benchmarks`: measure, print the ratios, write them as JSON."""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import authors as originals
from benchmarks import harness, methods
from benchmarks.floor import matrix_rate
from benchmarks.methods import SIDES, TEXTBOOK
from benchmarks.places import Place
from benchmarks.processes import alone

OURS = [side for side in SIDES if side != TEXTBOOK]
EPOCHS = 2
RECORDS = Path("results/benchmarks")


@click.command()
@click.option("--steps", default=40, show_default=True, help="Training steps that are timed.")
@click.option("--images", default=2000, show_default=True, help="Images that are imputed, posed and scored.")
@click.option("--fit-images", default=10_000, show_default=True, help="Images of the fits to an RMSE.")
@click.option("--rounds", default=3, show_default=True, help="How often each side is measured, in turns.")
@click.option("--only", default=",".join(methods.METHODS), show_default=True, help="Methods, by commas.")
@click.option("--threads", default=os.cpu_count() or 1, show_default=True, help="CPU threads.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda: where the methods run.")
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
    device: str,
    authors: Path | None,
    output: Path | None,
) -> None:
    """Measure ours against the textbook, and what the harness costs; or ours against the authors' code."""
    place = Place(threads, device)
    names = [name for name in only.split(",") if name]
    if authors is not None:
        report = against(authors, [name for name in names if name in originals.WHERE], steps, rounds, threads)
        write(report, output or RECORDS / "authors.json")
        show_authors(report["methods"])
        return
    report = against_textbook(names, steps, images, fit_images, rounds, place)
    write(report, output or RECORDS / ("ratios.json" if device == "cpu" else f"ratios-{device}.json"))
    show(report)


def against(folder: Path, names: list[str], steps: int, rounds: int, threads: int) -> dict[str, Any]:
    """Seconds of a step, the authors' and ours."""
    return {
        "machine": machine(Place(threads)),
        "settings": {"steps": steps, "rounds": rounds},
        "methods": originals.compare(folder, names, steps, rounds, threads),
    }


def against_textbook(
    names: list[str], steps: int, images: int, fit_images: int, rounds: int, place: Place
) -> dict[str, Any]:
    """Ours against the textbook, and what the harness costs."""
    measured = {name: compared(name, steps, images, rounds, place) for name in names}
    for name in names:
        add_reached(measured[name], name, fit_images, place)
    return {
        "machine": machine(place),
        "settings": {"steps": steps, "images": images, "fit_images": fit_images, "rounds": rounds},
        "methods": measured,
        "harness_seconds": harness.measure(images),
    }


def machine(place: Place) -> dict[str, Any]:
    """What was measured on."""
    return {
        "processor": processor(),
        "threads": place.threads,
        "device": place.device if place.device == "cpu" else torch.cuda.get_device_name(),
        "matrix_gflop_per_second": {side: alone(matrix_rate, place, side) / 1e9 for side in OURS},
    }


def processor() -> str:
    """The processor's name as Linux tells it, or its architecture."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def write(report: dict[str, Any], output: Path) -> None:
    """Write the report as JSON."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n")
    click.echo(f"written to {output}")


def compared(name: str, steps: int, images: int, rounds: int, place: Place) -> dict[str, Any]:
    """The medians over the rounds of each side, and of the ratios of ours to the textbook's."""
    taken: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            taken[side].append(alone(methods.measure, name, side, steps, images, place))
    figures = taken[TEXTBOOK][0].keys()
    result: dict[str, Any] = {
        side: {figure: median(one[figure] for one in taken[side]) for figure in figures} for side in SIDES
    }
    result["ratio"] = {
        side: {
            figure: median(
                ours[figure] / theirs[figure]
                for ours, theirs in zip(taken[side], taken[TEXTBOOK], strict=True)
            )
            for figure in figures
        }
        for side in OURS
    }
    return result


def add_reached(result: dict[str, Any], name: str, images: int, place: Place) -> None:
    """Add the seconds of fitting until all sides are at the RMSE that the worst one ends with."""
    curves = {side: alone(methods.reach, name, side, images, EPOCHS, place) for side in SIDES}
    target = max(curve[-1][1] for curve in curves.values())
    result["rmse"] = target
    for side, curve in curves.items():
        result[side]["seconds_to_rmse"] = next(seconds for seconds, rmse in curve if rmse <= target)
    for side in OURS:
        result["ratio"][side]["seconds_to_rmse"] = (
            result[side]["seconds_to_rmse"] / result[TEXTBOOK]["seconds_to_rmse"]
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
    table = Table("method", "figure", *SIDES, *(f"{side} / {TEXTBOOK}" for side in OURS))
    for name, result in report["methods"].items():
        for figure in result[TEXTBOOK]:
            values = [f"{result[side][figure]:,.1f}" for side in SIDES]
            title = figure.replace("_", " ")
            title += f" {result['rmse']:.3f}" if figure == "seconds_to_rmse" else ""
            table.add_row(name, title, *values, *(f"{result['ratio'][side][figure]:.2f}" for side in OURS))
    console.print(table)
    costs = Table("harness", "seconds")
    for name, seconds in report["harness_seconds"].items():
        costs.add_row(name, f"{seconds:.2f}")
    console.print(costs)


if __name__ == "__main__":
    main()
