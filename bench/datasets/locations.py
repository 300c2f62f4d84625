"""Where data is looked for, and what is known of it before it is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.util.cache import cache_dir
from bench.util.files import expanded


def data_folder(data_dir: Path | None = None) -> Path | None:
    """The user's data folder: `data_dir`, or BENCH_DATA, or None where neither is given.

    Raises:
        BenchError: it is not a folder.
    """
    given = str(data_dir) if data_dir is not None else os.environ.get("BENCH_DATA")
    if not given:
        return None
    folder = expanded(given)
    if not folder.is_dir():
        option = "--data-dir" if data_dir is not None else "BENCH_DATA"
        raise BenchError(f"{option} {folder} is not a folder; name one that holds the data")
    return folder


def data_folders(data_dir: Path | None = None) -> list[Path]:
    """Where a set that the package lacks is looked for, in order: the user's folder, the cache."""
    folders = (data_folder(data_dir), cache_dir())
    return [folder for folder in folders if folder is not None and folder.is_dir()]


def weights_folder() -> Path:
    """Where judges trained on this machine are kept."""
    return cache_dir() / "judges"


@dataclass(frozen=True)
class Listing:
    """What is known of a data set without reading its images.

    Attributes:
        path: where it would be read from; None where it is not found.
        train, test: how many images.
        shape: "1x28x28", channels, height and width.
        official: the official files were found (or would be fetched); they are verified when read.
        source: where it comes from.
        license: under what terms.
    """

    name: str
    path: Path | None
    train: int
    test: int
    shape: str
    official: bool
    source: str
    license: str
