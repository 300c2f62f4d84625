"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A range of numbers; "nan" lies in none, and "inf" is none."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        number: float = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", parameter, context)
        return number


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="BENCH_DATA",
    help="Where data sets are looked for first; BENCH_DATA otherwise.",
)

precision_option = click.option(
    "--precision",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Of matrix products; auto takes bfloat16 where the hardware is faster with it.",
)

timeout_option = click.option("--timeout", type=FiniteRange(min=1), help="Seconds a fit may take.")

RESULTS = Path("results/runs")

results_option = click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=RESULTS,
    show_default=True,
    help="Where results are stored.",
)

plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A Python file that defines a method, named after the file; may be given again.",
)
