"""`python -m benchmarks.scale`: time and memory against the number of images and of pixels."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import click
import matplotlib
import torch

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.prflow import PRFlow
from benchmarks.processes import alone

matplotlib.use("agg")

DIGIT = (1, 28, 28)
COUNTS = (1_000, 3_000, 10_000, 30_000, 100_000)
SHAPES = (DIGIT, (3, 16, 16), (3, 32, 32), (3, 48, 48), (3, 64, 64))
# PRFlow's H has a width of its own, so the whole model grows linearly with the image.
SETTINGS: dict[str, Any] = {"hidden": 64, "imputer_width": 64, "batch_size": 500, "epochs": 1}


def made(count: int, shape: tuple[int, int, int]) -> MaskedImages:
    """Made images, 80 % missing, drawn in parts so that drawing them is not what takes the memory."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.empty(count, *shape, dtype=torch.uint8)
    observed = torch.empty(count, 1, *shape[1:], dtype=torch.bool)
    for start in range(0, count, 1000):
        part = slice(start, start + 1000)
        seen = torch.rand(observed[part].shape, generator=generator) < 0.2
        observed[part] = seen
        pixels[part] = (
            torch.randint(0, 256, pixels[part].shape, generator=generator, dtype=torch.uint8) * seen
        )
    return MaskedImages(pixels, observed)


def measure(count: int, shape: tuple[int, int, int], threads: int) -> dict[str, float]:
    """One epoch of PRFlow with narrow networks on made images, then their imputation, in this process.

    Returns:
        fit_seconds, impute_seconds, and memory_mb: by how much the memory of the process grew at most after
        the images were loaded, without the model and its optimiser.
    """
    torch.set_num_threads(threads)
    images = made(count, shape)
    method = PRFlow(**SETTINGS)
    # Libraries are loaded at first use. This small fit loads them, so that the fit below does not.
    PRFlow(**SETTINGS | {"batch_size": 2}).fit(made(2, shape), FitContext())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    context = FitContext()
    started = time.perf_counter()
    method.fit(images, context)
    fitted = time.perf_counter()
    with torch.no_grad():
        method.impute(images)
    ended = time.perf_counter()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    # Weights, their gradients and Adam's two moments, and the copy that the last stage keeps.
    model = context.facts["parameters"] * 4 * 5
    return {
        "fit_seconds": fitted - started,
        "impute_seconds": ended - fitted,
        "memory_mb": max(grown - model, 0) / 1e6,
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """Time and memory against both sizes, each with the straight line through its largest."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 2, figsize=(7, 5), layout="constrained")
    for column, (kind, unit) in zip(
        panels.T, (("images", "images of 28x28"), ("values", "values an image")), strict=True
    ):
        rows = report[kind]
        sizes = [row["size"] for row in rows]
        for axes, names, label in zip(
            column, (("fit_seconds", "impute_seconds"), ("memory_mb",)), ("seconds", "MB"), strict=True
        ):
            for name in names:
                points = axes.plot(sizes, [row[name] for row in rows], "o", label=name.replace("_", " "))
                slope = rows[-1][name] / sizes[-1]
                axes.plot([0, sizes[-1]], [0, slope * sizes[-1]], color=points[0].get_color(), linewidth=0.7)
            axes.set(xlabel=unit, ylabel=label, xlim=(0, None), ylim=(0, None))
            axes.locator_params(axis="x", nbins=4)
            axes.legend(frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


@click.command()
@click.option("--most", default=COUNTS[-1], show_default=True, help="The largest number of images.")
@click.option("--shape-images", default=5_000, show_default=True, help="Images of each shape.")
@click.option("--threads", default=os.cpu_count() or 1, show_default=True, help="CPU threads.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results/benchmarks/scale.json"))
def main(most: int, shape_images: int, threads: int, output: Path) -> None:
    """Measure, print, and write a JSON file and a picture beside it."""
    report: dict[str, Any] = {"threads": threads, "settings": SETTINGS, "shape_images": shape_images}
    plan = [("images", count, count, DIGIT) for count in COUNTS if count <= most]
    plan += [("values", shape[0] * shape[1] * shape[2], shape_images, shape) for shape in SHAPES]
    plan.append(("celeba", most, most, (3, 32, 32)))
    for kind, size, count, shape in plan:
        row = {"size": size, **alone(measure, count, shape, threads)}
        report.setdefault(kind, []).append(row)
        click.echo(
            f"{kind} {size:,}: " + ", ".join(f"{name} {row[name]:,.1f}" for name in row if name != "size")
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n")
    draw(report, output.with_suffix(".png"))
    click.echo(f"written to {output} and {output.with_suffix('.png')}")


if __name__ == "__main__":
    main()
