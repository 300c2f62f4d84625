"""MNIST: 60,000 and 10,000 handwritten digits, 28x28 grey, from the canonical IDX files.

The files ship with the package. LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to
document recognition", 1998.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.datasets.dataset import Dataset
from bench.datasets.locations import Listing, data_folder
from bench.errors import BenchError

# The published MD5 of each unpacked file.
FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
JUDGE = "lenet"
"""The classifier that judges these images."""

CITATION = """@article{lecun1998gradient,
  title = {Gradient-based learning applied to document recognition},
  author = {LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick},
  journal = {Proceedings of the IEEE},
  volume = {86},
  number = {11},
  pages = {2278--2324},
  year = {1998}
}"""
LARGEST_BYTES = 50_000_000
"""More than the largest file has; no more than this is unpacked of any file."""
SUBFOLDERS = ("", "mnist", "MNIST/raw")
PACKAGED = Path(__file__).parent / "files"


def load(data_dir: Path | None = None) -> Dataset:
    """Read MNIST: train uint8 (60000, 1, 28, 28), test (10000, 1, 28, 28), labels 0 to 9.

    Args:
        data_dir: a folder with the four IDX files, gzipped or plain, in it, in `mnist/` or in `MNIST/raw/`.
            If it has none of them, the package's own files are read.

    Raises:
        BenchError: a file is missing, truncated or altered.
    """
    folder = locate(data_dir)
    arrays = [read(folder, name) for name in FILES]
    return Dataset(
        "mnist",
        train=arrays[0][:, None],
        test=arrays[2][:, None],
        train_labels=arrays[1].astype(np.int64),
        test_labels=arrays[3].astype(np.int64),
        official=True,
        display_name="MNIST",
        citation=CITATION,
    )


def locate(data_dir: Path | None = None) -> Path:
    """The folder that MNIST is read from: the user's if it has any of the files, else the package's."""
    given = data_folder(data_dir)
    if given:
        for folder in (given / sub for sub in SUBFOLDERS):
            if any(path.exists() for name in FILES for path in _candidates(folder, name)):
                return folder
    return PACKAGED


def listing(data_dir: Path | None = None) -> Listing:
    """What `bench datasets` says about it."""
    return Listing(
        "mnist",
        locate(data_dir),
        60_000,
        10_000,
        "1x28x28",
        official=True,
        source="http://yann.lecun.com/exdb/mnist/",
        license="CC BY-SA 3.0",
    )


def read(folder: Path, name: str) -> NDArray[np.uint8]:
    """The content of one IDX file: (N, 28, 28) for images, (N,) for labels.

    Raises:
        BenchError: the file is missing, truncated or not the published one.
    """
    path = next((path for path in _candidates(folder, name) if path.is_file()), None)
    if path is None:
        raise BenchError(f"{folder / name}.gz is missing; {_remedy(folder)}")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise BenchError(f"{path} cannot be read ({error}); {_remedy(folder)}") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != FILES[name]:
        raise BenchError(
            f"{path} is truncated or altered: its MD5 is not the published one; {_remedy(folder)}"
        )
    # An IDX header is two zero bytes, the type, the number of dimensions, and each as a big-endian integer.
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _candidates(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.gz", folder / name


def _remedy(folder: Path) -> str:
    if folder == PACKAGED:
        return "reinstall the package, or give a folder with the four MNIST files as --data-dir"
    return "download it again, or leave --data-dir and BENCH_DATA unset to read the package's own"
