"""`bench check`: whether a method keeps the contract."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import plugin_option
from bench.errors import BenchError
from bench.plugins.registry import find_methods
from bench.util.text import printable, unknown


@click.command("check")
@click.argument("method", metavar="NAME|FILE")
@plugin_option
def command(method: str, plugins: tuple[Path, ...]) -> int:
    """Check that a method keeps the contract, and print a line for each check.

    Give the method's name or its file. It runs on small artificial images, with the settings of the preset
    smoke. Exit status 1: a check fails.
    """
    from bench.plugins.conformance import check

    given = (Path(method),) if method.endswith(".py") else ()
    known = find_methods([*plugins, *given])
    name = Path(method).stem if given else method
    if name not in known:
        raise BenchError(f"{unknown('method', name, known)}; or give the path of a Python file")
    failed = False
    for outcome in check(known[name]):
        click.echo(printable(str(outcome)))
        failed |= outcome.status == "fail"
    return 1 if failed else 0
