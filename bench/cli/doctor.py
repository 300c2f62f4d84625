"""`bench doctor`: what this machine has and lacks, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import data_dir_option, plugin_option, results_option


@click.command("doctor")
@plugin_option
@data_dir_option
@results_option
def command(plugins: tuple[Path, ...], data_dir: Path | None, results: Path) -> int:
    """Check versions, devices, data, judges, methods, plugins, folders, caches and LaTeX.

    For each problem it says what to do. It downloads, trains and changes nothing. Exit status 1: something
    that `bench run` needs for MNIST is broken.
    """
    from bench.review.doctor import diagnose

    topic = ""
    broken = 0
    for at, finding in diagnose(results, data_dir, plugins):
        if at != topic:
            click.echo(at)
            topic = at
        click.echo(f"  {finding.level:7} {finding.text}{f' -> {finding.advice}' if finding.advice else ''}")
        broken += finding.level == "broken"
    click.echo(f"{broken} broken" if broken else "everything that the default run needs is there")
    return 1 if broken else 0
