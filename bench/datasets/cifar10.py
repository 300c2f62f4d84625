"""CIFAR-10: 50,000 and 10,000 small photographs of ten classes, 32x32 RGB.

Read from the official Python batches, or from image files in `cifar10/{train,test}/<class>/`.
Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from __future__ import annotations

import hashlib
import pickle
import tarfile
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets.dataset import Dataset, Labels, Pixels
from bench.datasets.decoded import (
    cached_dataset,
    channels_first,
    decode,
    list_folders,
    list_images,
    read_image,
)
from bench.datasets.locations import Listing, data_folders
from bench.errors import BenchError

# In the order of the official labels, which is the alphabet's.
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ARCHIVE = "cifar-10-python.tar.gz"
BATCHES = "cifar-10-batches-py"
BATCH_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
LARGEST_BYTES = 50_000_000
"""More than any batch has; no more than this is read of a larger file."""
SHAPE = (3, 32, 32)
JUDGE = "resnet18"
"""The classifier that judges these images."""

CITATION = """@techreport{krizhevsky2009learning,
  title = {Learning multiple layers of features from tiny images},
  author = {Krizhevsky, Alex},
  institution = {University of Toronto},
  year = {2009}
}"""
REMEDY = f"run `bench prepare`, or put {ARCHIVE} or cifar10/{{train,test}}/<class>/ in --data-dir"


def load(data_dir: Path | None = None) -> Dataset:
    """Read CIFAR-10: train uint8 (50000, 3, 32, 32), test (10000, 3, 32, 32), labels 0 to 9.

    It is `official` if it was read from the Python batches. A folder of image files may hold fewer images.

    Args:
        data_dir: a folder with the archive, the unpacked batches, or `{train,test}/<class>/*.png` or `*.jpg`,
            in it or in its `cifar10/`. If None, BENCH_DATA is taken. The cache folder is searched next.

    Raises:
        BenchError: nothing is found, or a file is missing, damaged or not the published one.
    """
    source = locate(data_dir)
    if source is None:
        raise BenchError(f"CIFAR-10 is not found; {REMEDY}")
    return replace(_read_from(source), display_name="CIFAR-10", citation=CITATION)


def _read_from(source: Path) -> Dataset:
    if source.name == ARCHIVE:
        return cached_dataset(
            "cifar10", "python batches", [source], partial(_from_archive, source), official=True
        )
    if (source / "test_batch").exists() or source.name == BATCHES:
        files = [source / name for name in BATCH_FILES]
        for path in files:
            if not path.is_file():
                raise BenchError(f"{path} is missing; unpack {ARCHIVE} again")
        return cached_dataset(
            "cifar10", "python batches", files, partial(_from_folder, source), official=True
        )
    files = [path for part in ("train", "test") for path in _images(source / part)]
    return cached_dataset("cifar10", "image files", files, partial(_from_images, source))


def locate(data_dir: Path | None = None) -> Path | None:
    """The archive, the folder of batches or the folder of images that CIFAR-10 is read from; None if none."""
    for given in data_folders(data_dir):
        for base in (given, given / "cifar10"):
            if (base / "test_batch").exists():
                return base
            if (base / BATCHES).exists():
                return base / BATCHES
            if (base / ARCHIVE).is_file():
                return base / ARCHIVE
        for base in (given / "cifar10", given):
            if (base / "train" / CLASSES[0]).is_dir() or (
                base.name == "cifar10" and (base / "train").is_dir()
            ):
                return base
    return None


def listing(data_dir: Path | None = None) -> Listing:
    """What `bench datasets` says about it."""
    source = locate(data_dir)
    images = source is not None and (source / "train").is_dir()
    counts = (50_000, 10_000)
    if source is not None and images:
        counts = (len(_images(source / "train")), len(_images(source / "test")))
    return Listing(
        "cifar10",
        source,
        *counts,
        "3x32x32",
        official=not images,
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        license="none stated; cite Krizhevsky 2009",
    )


def download(folder: Path) -> None:
    """Download the official archive into a folder.

    Raises:
        BenchError: the network fails, or the download is not the published file.
    """
    from bench.datasets.download import fetch

    official = _torchvision()
    fetch(official.url, folder / ARCHIVE, official.tgz_md5)


def _from_archive(archive: Path, target: Path) -> None:
    # The few files wanted are read from the archive in place; nothing is unpacked.
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as members:
            for member in members:
                folder, _, name = member.name.rpartition("/")
                # A link is never read, wherever it leads.
                wanted = folder == BATCHES and name in BATCH_FILES and member.isfile()
                stream = members.extractfile(member) if wanted else None
                if stream is not None:
                    contents[name] = stream.read(LARGEST_BYTES)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise BenchError(f"{archive} is truncated or not a tar archive; {REMEDY}") from error
    for name in BATCH_FILES:
        if name not in contents:
            raise BenchError(f"{archive} lacks {name}; {REMEDY}")
    _write(contents, archive, target)


def _from_folder(folder: Path, target: Path) -> None:
    _write({name: (folder / name).read_bytes() for name in BATCH_FILES}, folder, target)


def _write(contents: dict[str, bytes], origin: Path, target: Path) -> None:
    # A pickle can run any code, so it is opened only if its MD5 is the published one.
    published = published_checksums()
    for name, content in contents.items():
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != published[name]:
            raise BenchError(f"{origin / name} is altered: its MD5 is not the published one; {REMEDY}")
    batches = [_unpickle(contents[name]) for name in BATCH_FILES]
    for part, chosen in (("train", batches[:-1]), ("test", batches[-1:])):
        np.save(target / f"{part}.npy", np.concatenate([pixels for pixels, _ in chosen]))
        np.save(target / f"{part}_labels.npy", np.concatenate([labels for _, labels in chosen]))


def published_checksums() -> dict[str, str]:
    """The published MD5 of each batch file, as torchvision lists them."""
    official = _torchvision()
    return dict([*official.train_list, *official.test_list])


def _torchvision() -> Any:
    from bench.classifiers.vision import load as load_module

    return load_module("torchvision.datasets").CIFAR10


def _unpickle(content: bytes) -> tuple[Pixels, Labels]:
    batch = pickle.loads(content, encoding="latin1")
    return batch["data"].reshape(-1, *SHAPE), np.asarray(batch["labels"], dtype=np.int64)


def _images(folder: Path) -> list[Path]:
    """The image files of one part, class by class."""
    if not folder.is_dir():
        raise BenchError(f"{folder} is missing; {REMEDY}")
    found = tuple(path.name for path in list_folders(folder))
    if found != CLASSES:
        odd = sorted(set(found) ^ set(CLASSES))[0]
        fault = "is missing" if odd in CLASSES else "is not a class of CIFAR-10"
        raise BenchError(f"{folder / odd} {fault}; give one folder for each of {', '.join(CLASSES)}")
    files = [list_images(folder / name) for name in CLASSES]
    for name, images in zip(CLASSES, files, strict=True):
        if not images:
            raise BenchError(f"{folder / name} holds no .png or .jpg images; {REMEDY}")
    return [path for images in files for path in images]


def _from_images(folder: Path, target: Path) -> None:
    for part in ("train", "test"):
        files = _images(folder / part)
        decode(f"cifar10 {part}", files, _read, SHAPE, target / f"{part}.npy")
        labels = np.array([CLASSES.index(path.parent.name) for path in files], dtype=np.int64)
        np.save(target / f"{part}_labels.npy", labels)


def _read(path: Path) -> Pixels:
    image = read_image(path, path)
    if image.size != (32, 32):
        raise BenchError(f"{path} is {image.width}x{image.height}; CIFAR-10 images are 32x32")
    return channels_first(image.convert("RGB"))
