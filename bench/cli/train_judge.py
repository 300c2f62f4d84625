"""`bench train-judge`: train the classifier that judges a data set."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import GivenPath


@click.command("train-judge")
@click.argument("dataset")
@click.option("--data-dir", type=GivenPath(), help="Folder with the data.  [default: BENCH_DATA]")
@click.option(
    "--output",
    type=GivenPath(file_okay=False),
    help="Folder for the weights.  [default: the cache folder]",
)
def command(dataset: str, data_dir: Path | None, output: Path | None) -> int:
    """Train the classifier that judges DATASET (mnist or cifar10) on its complete training images.

    If a training was killed, the next call continues it.
    """
    from bench.judges.training import train_judge

    train_judge(dataset, data_dir, output=output, say=click.echo)
    return 0
