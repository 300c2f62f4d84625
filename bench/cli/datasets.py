"""`bench datasets`: the data sets that can be read, and where their files are found."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from bench.cli.options import GivenPath
from bench.datasets import BUILT_IN, registered
from bench.datasets.locations import Listing, data_folder
from bench.datasets.mnist import PACKAGED
from bench.errors import BenchError
from bench.judges.known import told
from bench.util.text import printable


@click.command("datasets")
@click.option("--data-dir", type=GivenPath(), help="Folder with the files.  [default: BENCH_DATA]")
def command(data_dir: Path | None) -> None:
    """List the data sets that can be read: number of images, where the files are found, source, licence."""
    data_folder(data_dir)
    for name in BUILT_IN:
        try:
            listing: Listing = importlib.import_module(f"bench.datasets.{name}").listing(data_dir)
        except BenchError as error:
            click.echo(f"{name}\n  damaged   {printable(str(error))}")
            continue
        click.echo(f"{name}: {listing.train:,} train, {listing.test:,} test, {listing.shape}")
        click.echo(f"  found     {_found(listing)}")
        click.echo(f"  source    {listing.source}")
        click.echo(f"  license   {listing.license}")
        click.echo(f"  judge     {told(name)}")
    for name, entry in registered().items():
        click.echo(printable(f"{name}: from the plugin {entry.value}"))
    click.echo("your own: --dataset PATH of an .npz file (arrays train and test) or of a folder of images")


def _found(listing: Listing) -> str:
    if listing.path is None:
        return "no; `bench prepare` fetches it"
    place = "in the package" if listing.path == PACKAGED else str(listing.path)
    kind = "official files, verified when read" if listing.official else "not the official files"
    return f"{place} ({kind})"
