"""Where data is looked for, and what is known about it before it is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.util.cache import cache_dir
from bench.util.files import expanded


def data_folder(data_dir: Path | None = None) -> Path | None:
    """The user's data folder: `data_dir`, else BENCH_DATA, else None.

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
    """The folders in which data sets that the package lacks are looked for: the user's, then the cache."""
    folders = (data_folder(data_dir), cache_dir())
    return [folder for folder in folders if folder is not None and folder.is_dir()]


def weights_folder() -> Path:
    """The folder of the judges that were trained on this machine."""
    return cache_dir() / "judges"


@dataclass(frozen=True)
class Listing:
    """What is known about a data set without reading its images.

    Attributes:
        path: the file or folder that it would be read from; None if it is not found.
        train, test: the numbers of images.
        shape: channels, height and width, such as "1x28x28".
        official: the official files were found (or would be downloaded); they are verified when read.
        source: the address that it comes from.
        license: the terms of its use.
    """

    name: str
    path: Path | None
    train: int
    test: int
    shape: str
    official: bool
    source: str
    license: str
