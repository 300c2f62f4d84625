"""`python -m benchmarks.schedules`: RMSE against fitting time of a method's presets, on the same images."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click
import matplotlib
import torch

from bench.imputer import FitContext
from bench.run.machine import settle_precision
from benchmarks.fitting import HELD_OUT, fit_curve, method_of, split
from benchmarks.processes import alone

matplotlib.use("agg")


def curve(
    method: str,
    preset: str,
    precision: str,
    *,
    rate: float,
    images: int | None,
    dataset: str,
    data_dir: Path | None,
    seconds: float,
) -> list[tuple[float, float]]:
    """(seconds, RMSE) of held-out training images while a preset's schedule runs, on one thread."""
    torch.set_num_threads(1)
    data = split(rate, images, dataset, data_dir)
    fitted = method_of(method, preset, {}, dataset)
    context = FitContext(precision=settle_precision(precision, "cpu", fitted.bfloat16))
    return fit_curve(fitted, data, context, seconds=seconds, every=seconds / 40).points


def draw(report: dict[str, Any], path: Path) -> None:
    """A panel for each method, a line for each preset."""
    from matplotlib import pyplot

    curves = report["curves"]
    figure, panels = pyplot.subplots(
        1, len(curves), figsize=(3.5 * len(curves), 2.8), squeeze=False, sharey=True, layout="constrained"
    )
    for axes, (method, presets) in zip(panels[0], curves.items(), strict=True):
        for mark, (preset, points) in zip("os^D", presets.items(), strict=False):
            axes.plot(*zip(*points, strict=True), marker=mark, markersize=3, linewidth=1, label=preset)
        axes.set(title=method, xlabel="seconds of fitting, one core")
        axes.legend(frameon=False)
    panels[0, 0].set_ylabel(f"RMSE, {report['rate']:.0%} missing")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


@click.command()
@click.option("--methods", default="mcflow,prflow", show_default=True, help="Methods, by commas.")
@click.option("--presets", default="quick,standard,paper", show_default=True, help="Presets, by commas.")
@click.option("--dataset", default="mnist", show_default=True, help="One data set.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder in which it is looked for.")
@click.option("--rate", default=0.8, show_default=True, help="Fraction missing.")
@click.option("--images", type=int, help=f"Training images.  [default: all but the {HELD_OUT} held out]")
@click.option("--seconds", default=400.0, show_default=True, help="Of fitting, for each.")
@click.option("--precision", default="auto", show_default=True, help="As for `bench run`.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results/benchmarks/schedules.json"))
def main(methods: str, presets: str, precision: str, output: Path, **conditions: Any) -> None:
    """Fit each preset, and write a JSON file and a picture beside it."""
    report: dict[str, Any] = {
        **{name: conditions[name] for name in ("dataset", "rate", "images")},
        "held_out": HELD_OUT,
        "precision": precision,
        "curves": {},
    }
    measure = partial(curve, **conditions)
    output.parent.mkdir(parents=True, exist_ok=True)
    for method in methods.split(","):
        for preset in presets.split(","):
            points = alone(measure, method, preset, precision)
            report["curves"].setdefault(method, {})[preset] = points
            ended = f"{points[-1][1]:.4f} in {points[-1][0]:.0f} s" if points else "no epoch in this time"
            click.echo(f"{method} {preset}: {ended}")
            output.write_text(json.dumps(report, indent=2) + "\n")
    draw(report, output.with_suffix(".png"))
    click.echo(f"written to {output} and {output.with_suffix('.png')}")


if __name__ == "__main__":
    main()
