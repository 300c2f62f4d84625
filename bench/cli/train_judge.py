"""`bench train-judge`: train the classifier that judges a data set."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import FiniteRange, GivenPath


@click.command("train-judge")
@click.argument("dataset")
@click.option("--data-dir", type=GivenPath(), help="Folder with the data.  [default: BENCH_DATA]")
@click.option(
    "--epochs",
    type=FiniteRange(min=0, min_open=True),
    help="How often each image is shown.  [default: by the network, the device and the number of images]",
)
@click.option(
    "--output",
    type=GivenPath(file_okay=False),
    help="Folder for the weights.  [default: the cache folder]",
)
def command(dataset: str, data_dir: Path | None, epochs: float | None, output: Path | None) -> int:
    """Train the classifier that judges DATASET on its complete training images.

    DATASET is a name or the path of your own images, with labels. LeNet judges grey images of at most 32x32
    pixels, ResNet18 all others. For images of your own the judge is found again by their fingerprint. If a
    training was killed, the next call continues it.
    """
    from bench.judges.training import train_judge

    train_judge(dataset, data_dir, epochs=epochs, output=output, say=click.echo)
    return 0
