"""`bench merge SOURCE... --into DIR`: the results of several machines brought together."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("merge")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SOURCE...")
@click.option("--into", "target", required=True, type=click.Path(path_type=Path), help="Where they go.")
def command(sources: tuple[Path, ...], target: Path) -> int:
    """Copy the cells of each SOURCE into one results folder; equal ones are passed over.

    Where two hold the same cell with another key or other numbers, or a name or a link would lead out of
    its folder, every such cell is named, nothing is copied and the exit status is 1. A cell that failed in
    one place gives way to the same cell that did not.
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
