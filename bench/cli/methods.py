"""`bench methods`: the methods, their settings, and whether they can be used here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

import click

from bench.cli.options import plugin_option
from bench.errors import BenchError
from bench.plugins.registry import Description, Setting, Source, describe_all, find_methods
from bench.util.text import printable, unknown


@click.command("methods")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@plugin_option
def command(names: tuple[str, ...], plugins: tuple[Path, ...]) -> int:
    """List all methods, or those named: source, settings, requirements, and whether they can be used here.

    For each setting, the default comes first, then its values for data sets and presets. The meaning of each
    setting is shown for methods that are named. Exit status 1: a method that is named cannot be used here.
    """
    known = find_methods(plugins)
    for name in names:
        if name not in known:
            raise BenchError(unknown("method", name, known))
    shown = names or sorted(known)
    answers = describe_all(known[name] for name in shown)
    for name in shown:
        answer = answers[name]
        click.echo("\n".join(printable(line) for line in lines(known[name], answer)))
        if names and isinstance(answer, Description) and answer.details:
            details = "\n".join(printable(line) for line in answer.details.splitlines())
            click.echo(f"\n{indent(details, '  ')}\n")
    return 1 if names and any(hindrance(answers[name]) for name in names) else 0


def hindrance(answer: Description | BenchError) -> str:
    """Why a method cannot be used here; "" if it can."""
    if isinstance(answer, BenchError):
        return str(answer)
    return f"{', '.join(answer.absent)} not installed" if answer.absent else ""


def lines(source: Source, answer: Description | BenchError) -> list[str]:
    """The lines about one method."""
    why = hindrance(answer)
    usable = f"  usable    {f'no: {why}' if why else 'yes'}"
    if isinstance(answer, BenchError):
        return [source.name, f"  source    {source.origin}", usable]
    baseline = ", a baseline" if answer.baseline else ""
    return [
        f"{source.name}: {answer.display_name}{baseline}",
        f"  summary   {answer.summary}",
        f"  source    {source.origin}",
        f"  requires  {', '.join(answer.requires) or 'nothing more'}",
        usable,
        *(f"  setting   {line}" for line in settings(answer)),
    ]


def settings(answer: Description) -> list[str]:
    """ "epochs=500 (int at least 1; smoke 3; quick 8)" for each setting."""
    return [
        f"{name}={spelled(setting.default)} ({'; '.join([kind(setting), *layers_of(answer, name)])})"
        for name, setting in answer.settings.items()
    ]


def kind(setting: Setting) -> str:
    """What values it takes, as in "int at least 1" or "joint or likelihood"."""
    if setting.choices:
        return " or ".join(spelled(choice) for choice in setting.choices)
    return f"{setting.type} {setting.range}".rstrip()


def layers_of(answer: Description, setting: str) -> list[str]:
    """The values that data sets and presets give a setting: "cifar10 1024", "smoke 128"."""
    layers: Mapping[str, Mapping[str, Any]] = {**answer.for_dataset, **answer.presets}
    return [f"{layer} {spelled(given[setting])}" for layer, given in layers.items() if setting in given]


def spelled(value: Any) -> str:
    """A value as one writes it after `--set`; a float has at most six digits."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
