"""`python -m benchmarks.statistics DATASET`: the statistics of complete images that come with the package.

For maintainers, after a training of a judge whose weights come with the package, or a change of a preset's
numbers of images. Writes one file for each set of complete images that a preset scores with, into
`bench/judges/statistics`, and removes that judge's older ones there. Takes minutes for CIFAR-10.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from bench import datasets
from bench.judges import complete
from bench.judges.finding import judge_for
from bench.judges.judge import Judge
from bench.plugins.presets import PRESETS


@click.command()
@click.argument("dataset")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder with the data.")
def main(dataset: str, data_dir: Path | None) -> None:
    """Write the statistics of the complete images of DATASET."""
    judge = judge_for(dataset, data_dir)
    data = datasets.load(dataset, data_dir)
    for path in write(judge, data, complete.PACKAGED):
        click.echo(f"{path}: {path.stat().st_size:,} bytes")


def write(judge: Judge, data: datasets.Dataset, folder: Path) -> list[Path]:
    """Write the files of all sets, and remove the judge's other ones. Returns their paths."""
    paths = []
    for split, images in sets(data):
        identity = complete.identity_of(judge, images)
        paths.append(folder / complete.file_name(judge, identity))
        facts = {"identity": identity, **complete.facts_of(judge), "dataset": data.name, "split": split}
        complete.save(paths[-1], complete.compute(judge, images), facts)
    for path in folder.glob(f"{judge.name.lower()}-*.safetensors"):
        if path not in paths:
            path.unlink()
    return paths


def sets(data: datasets.Dataset) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Each set of complete images that a preset takes, and of which split it is."""
    for split, images, sizes in (
        ("train", data.train, {train for train, _ in PRESETS.values()}),
        ("test", data.test, {test for _, test in PRESETS.values()}),
    ):
        # A preset takes a smaller split whole.
        for size in sorted({min(size or len(images), len(images)) for size in sizes}):
            yield split, images[datasets.subset(len(images), size)]


if __name__ == "__main__":
    main()
