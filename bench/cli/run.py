"""`bench run`: methods x data sets x rates x seeds, each cell run, scored and stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from bench.cli.options import comma_separated, data_dir_option, plugin_option, results_option
from bench.errors import BenchError
from bench.grid import plan_cells
from bench.plan import DEFAULT_PRESET, PRESETS

Value = TypeVar("Value")


@click.command()
@click.option("--methods", required=True, help="Names, with commas between: prflow,baselines.")
@click.option("--dataset", "datasets", required=True, help="Names or paths, with commas between.")
@click.option("--rates", default="0.6,0.7,0.8,0.9", show_default=True, help="Fractions missing, in (0, 1).")
@click.option("--seeds", default="0", show_default=True, help="Whole numbers.")
@click.option("--preset", default=DEFAULT_PRESET, show_default=True, help=f"One of {', '.join(PRESETS)}.")
@click.option("--set", "overrides", multiple=True, metavar="METHOD.NAME=VALUE", help="Override one setting.")
@click.option("--train", type=int, help="How many training images; the preset's number otherwise.")
@click.option("--test", type=int, help="How many test images; the preset's number otherwise.")
@plugin_option
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Of matrix products; auto takes bfloat16 where the hardware is faster with it.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of a method; all cores otherwise.")
@click.option("--timeout", type=click.FloatRange(min=1), help="Seconds a fit may take.")
@click.option("--rerun", is_flag=True, help="Run cells again that are done.")
@data_dir_option
@results_option
def command(
    methods: str,
    datasets: str,
    rates: str,
    seeds: str,
    preset: str,
    overrides: tuple[str, ...],
    train: int | None,
    test: int | None,
    plugins: tuple[Path, ...],
    device: str,
    precision: str,
    threads: int | None,
    timeout: float | None,
    rerun: bool,
    data_dir: Path | None,
    results: Path,
) -> int:
    """Run methods on incomplete images and record how well they fill them in."""
    cells = plan_cells(
        methods=comma_separated(methods),
        datasets=comma_separated(datasets),
        rates=[parse(rate, float, "rate") for rate in comma_separated(rates)],
        seeds=[parse(seed, int, "seed") for seed in comma_separated(seeds)],
        preset=preset,
        overrides=overrides,
        sizes=(train, test),
        plugins=plugins,
    )
    from bench.hardware import machine_for
    from bench.running import run_cells

    machine = machine_for(device, precision, threads, data_dir, timeout)
    return run_cells(cells, results, machine, rerun)


def parse(text: str, kind: Callable[[str], Value], what: str) -> Value:
    """A number from the command line. Raises BenchError where it is none."""
    try:
        return kind(text)
    except ValueError:
        raise BenchError(f"{what} {text!r} is not a number; give them with commas between") from None
