"""`bench merge SOURCE... --into DIR`: the results of several machines in one folder."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import GivenPath


@click.command("merge")
@click.argument("sources", nargs=-1, required=True, type=GivenPath(), metavar="SOURCE...")
@click.option("--into", "target", required=True, type=GivenPath(), help="Folder to copy them to.")
def command(sources: tuple[Path, ...], target: Path) -> int:
    """Copy the cells of each SOURCE into one results folder. Cells that are there already are passed over.

    If a cell failed in one place and has numbers in another, the numbers are taken. Nothing is copied, and
    the exit status is 1, if two places hold a cell with different keys or numbers, or if a name or link leads
    out of its folder. All such cells are then listed.
    """
    from bench.store.merging import copy, plan_merge
    from bench.util.text import clean

    steps, faults = plan_merge(sources, target)
    for fault in faults:
        click.echo(f"refused: {fault}", err=True)
    if faults:
        click.echo(f"nothing was copied: {len(faults)} refused", err=True)
        return 1
    copied = [step for step in steps if not step.reason]
    for step in copied:
        copy(step, target)
        click.echo(f"copied {clean(str(step.cell))} from {step.source}")
    for step in steps:
        if step.reason:
            click.echo(f"passed over {clean(str(step.source / step.cell))}: {step.reason}")
    click.echo(f"{len(copied)} copied, {len(steps) - len(copied)} passed over")
    return 0
