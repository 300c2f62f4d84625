"""Options that several commands share."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bench.util.files import expanded


class FiniteRange(click.FloatRange):
    """A range of finite numbers: "nan" and "inf" are refused."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        number: float = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", parameter, context)
        return number


class GivenPath(click.Path):
    """A path with "~" replaced. An empty one, or one that no system can follow, is refused."""

    def __init__(self, **checks: Any) -> None:
        super().__init__(path_type=Path, **checks)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        if not str(value):
            self.fail('the path is empty; the current folder is ".".', parameter, context)
        path = expanded(value)
        try:
            path.stat()
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
                self.fail(
                    f"{value} cannot be used ({error.strerror}); choose another path.", parameter, context
                )
        checked = Path(os.fsdecode(super().convert(path, parameter, context)))
        return checked


def names_between_commas(text: str, is_name: Callable[[str], bool]) -> list[str]:
    """The names in a text with commas between them; a name may hold commas too.

    Args:
        is_name: tells whether there is such a name. One that is a name by itself is not joined to the next.
    """
    parts = text.split(",")
    found = []
    while parts:
        count = len(parts)
        while count > 1 and not is_name(",".join(parts[:count]).strip()):
            count -= 1
        if count > 1 and (first := parts[0].strip()) and is_name(first):
            count = 1
        found.append(",".join(parts[:count]).strip())
        parts = parts[count:]
    return [name for name in found if name]


data_dir_option = click.option(
    "--data-dir",
    type=GivenPath(),
    envvar="BENCH_DATA",
    help="Folder in which data sets are looked for first.  [default: BENCH_DATA]",
)

precision_option = click.option(
    "--precision",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Precision of matrix products; auto takes bfloat16 if it is faster on this hardware.",
)

timeout_option = click.option("--timeout", type=FiniteRange(min=1), help="How many seconds a fit may take.")

RESULTS = Path("results/runs")

results_option = click.option(
    "--results",
    type=GivenPath(),
    default=RESULTS,
    show_default=True,
    help="Folder with the results.",
)

plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=GivenPath(),
    metavar="FILE",
    help="A Python file that defines a method of the same name; can be given several times.",
)
