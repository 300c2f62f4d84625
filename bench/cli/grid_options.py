"""The options that name cells, for all commands that take a grid of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bench.cli.options import names_between_commas, plugin_option
from bench.datasets import is_named
from bench.errors import BenchError
from bench.grid.grid import Grid, Override
from bench.grid.suites import Suite, read_suite
from bench.plugins.presets import DEFAULT_PRESET, PRESETS
from bench.problem.missingness import MECHANISMS
from bench.util.files import expanded

ORIGINS = {
    ParameterSource.COMMANDLINE: "command line",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "suite",
    ParameterSource.DEFAULT: "default",
}
RECORDED = (
    "methods",
    "datasets",
    "mechanisms",
    "rates",
    "seeds",
    "preset",
    "train",
    "test",
    "timeout",
    "device",
    "precision",
    "threads",
    "jobs",
    "memory",
)
"""The options that a suite can hold too, and whose origin a result tells."""


class CommaSeparated(click.ParamType[Any]):
    """Values with commas between them; a suite gives them as a list.

    Args:
        kind: makes one value from its text; raises ValueError where it is none.
        what: what a message calls one.
    """

    name = "list"

    def __init__(self, kind: Callable[[Any], Any], what: str) -> None:
        self.kind = kind
        self.what = what

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """The values. Raises BenchError where one is not of the kind."""
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        return tuple(self._one(part) for part in parts if part != "")

    def _one(self, part: Any) -> Any:
        try:
            return self.kind(part)
        except ValueError:
            kind = "whole number" if self.kind is int else "number"
            raise BenchError(f"{self.what} {part!r} is not a {kind}; give them with commas between") from None


class DataSets(CommaSeparated):
    """Names and paths of data sets with commas between. A path that exists may hold commas too."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """As `CommaSeparated.convert`. A part that is a data set by itself is not joined to the next one."""
        if isinstance(value, str):
            value = names_between_commas(value, lambda name: is_named(name) or _exists(name))
        return super().convert(value, param, ctx)


def _exists(path: str) -> bool:
    """Whether there is such a file or folder. No system takes a long list of names for a path."""
    try:
        return expanded(path).exists()
    except OSError:
        return False


def _take_suite(context: click.Context, parameter: click.Parameter, given: str | None) -> Suite | None:
    """Let what the suite holds stand where the command line gives nothing."""
    if given is None:
        return None
    suite = read_suite(given)
    held = {name: getattr(suite.content, name) for name in RECORDED}
    context.default_map = {name: value for name, value in held.items() if value is not None}
    return suite


OPTIONS = (
    click.option(
        "--suite",
        metavar="FILE",
        is_eager=True,
        callback=_take_suite,
        help="A YAML file with values of these options, or a suite that comes with bench: paper, quick.",
    ),
    click.option(
        "--methods",
        type=CommaSeparated(str, "method"),
        help="Names of methods, with commas between; `baselines` stands for all baselines.",
    ),
    click.option(
        "--dataset",
        "datasets",
        type=DataSets(str, "data set"),
        help="Names or paths of data sets, with commas between.",
    ),
    click.option(
        "--mechanism",
        "mechanisms",
        multiple=True,
        default=["pixel"],
        show_default=True,
        metavar="NAME[:SETTING=VALUE,...]",
        help=f"How pixels go missing: {', '.join(MECHANISMS)}; can be given several times.",
    ),
    click.option(
        "--rates",
        type=CommaSeparated(float, "rate"),
        default="0.6,0.7,0.8,0.9",
        show_default=True,
        help="Fractions of pixels that are missing, in (0, 1).",
    ),
    click.option(
        "--seeds",
        type=CommaSeparated(int, "seed"),
        default="0",
        show_default=True,
        help="Whole numbers, with commas between.",
    ),
    click.option("--preset", default=DEFAULT_PRESET, show_default=True, help=f"One of {', '.join(PRESETS)}."),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="METHOD.NAME=VALUE",
        help="Change one setting of a method; can be given several times.",
    ),
    click.option("--train", type=int, help="Number of training images.  [default: the preset's]"),
    click.option("--test", type=int, help="Number of test images.  [default: the preset's]"),
    plugin_option,
)


def grid_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a grid; it gets them as one argument, `grid`."""

    @functools.wraps(command)
    def call(
        suite: Suite | None,
        methods: tuple[str, ...] | None,
        datasets: tuple[str, ...] | None,
        mechanisms: tuple[str, ...],
        rates: tuple[float, ...],
        seeds: tuple[int, ...],
        preset: str,
        overrides: tuple[str, ...],
        train: int | None,
        test: int | None,
        plugins: tuple[Path, ...],
        **others: Any,
    ) -> Any:
        from_suite = suite.overrides if suite else ()
        files = [Path(name) for name in suite.content.plugins] if suite else []
        grid = Grid(
            methods=methods or (),
            datasets=datasets or (),
            mechanisms=mechanisms,
            rates=rates,
            seeds=seeds,
            preset=preset,
            overrides=[*from_suite, *map(Override.from_command_line, overrides)],
            train=train,
            test=test,
            plugins=[*files, *plugins],
            asked=_asked(suite),
        )
        return command(grid=grid, **others)

    for option in reversed(OPTIONS):
        call = option(call)
    return call


def _asked(suite: Suite | None) -> dict[str, Any]:
    """Where each option's value came from, for the results."""
    context = click.get_current_context()
    sources = {name: context.get_parameter_source(name) for name in RECORDED if name in context.params}
    return {
        "suite": {"name": suite.name, "hash": suite.hash} if suite else None,
        "from": {name: ORIGINS[source] for name, source in sources.items() if source in ORIGINS},
    }
