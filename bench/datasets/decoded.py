"""Image files, decoded once and kept in the cache folder as arrays that can be memory-mapped."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray
from PIL import Image

from bench.datasets.dataset import Dataset, Pixels
from bench.errors import BenchError
from bench.util.cache import cache_dir, written_whole
from bench.util.files import open_regular

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
PARTS = ("train", "test", "train_labels", "test_labels")
BLOCK = 1024

Item = TypeVar("Item")


def cached_dataset(
    name: str,
    recipe: str,
    files: Sequence[Path],
    build: Callable[[Path], None],
    official: bool = False,
) -> Dataset:
    """A data set from its decoded copy. If there is no copy yet, it is made first.

    A copy is found by the recipe and by what the file system says of the files: paths, sizes, inodes, and
    times of change of content and of the file itself. It is made under another name and then renamed, so
    that two processes may make it at the same time.

    Args:
        recipe: how the files become arrays; each recipe has its own copy.
        files: all files that the arrays are made from.
        build: writes `train.npy` and `test.npy` to a folder, and the files of labels if there are labels.

    Raises:
        BenchError: the cache folder cannot be written, the copy is damaged, or as `build` raises.
    """
    folder = cache_dir() / "decoded" / f"{Path(name).stem}-{_key(recipe, files)}"
    if not folder.is_dir():
        try:
            with written_whole(folder) as draft:
                build(draft)
        except OSError as error:
            raise BenchError(
                f"{folder.parent} cannot be written ({error.strerror}); set BENCH_CACHE to a folder with room"
            ) from error
    try:
        arrays = {
            part: np.load(folder / f"{part}.npy", mmap_mode="r" if "labels" not in part else None)
            for part in PARTS
            if (folder / f"{part}.npy").exists()
        }
        return Dataset(name, **arrays, official=official)
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise BenchError(f"{folder} holds a damaged copy of {name}; delete that folder") from error


def _key(recipe: str, files: Sequence[Path]) -> str:
    digest = hashlib.sha256(recipe.encode())
    for path in files:
        status = path.stat()
        # rsync and cp -p give a file the time of its contents' change, but none can give it the other two.
        parts = (path.absolute(), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        digest.update(("\n" + "\0".join(map(str, parts))).encode(errors="surrogateescape"))
    return digest.hexdigest()[:20]


def decode(
    label: str,
    items: Sequence[Item],
    read: Callable[[Item], Pixels],
    shape: tuple[int, int, int],
    target: Path,
) -> None:
    """Decode many images into one .npy file.

    Args:
        label: the name of the images in the progress display.
        items: the paths of the images, or what `read` takes instead.
        read: gives one image, uint8 (C, H, W).
        shape: (C, H, W).
        target: the .npy file to write, uint8 (len(items), C, H, W).
    """
    # Written in order and not through a memory map, because there a full disk would kill the process.
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(items), *shape)}
    with target.open("wb") as file, ThreadPoolExecutor() as pool:
        write_array_header_1_0(file, header)
        for start in progress(f"decoding {label}, once", range(0, len(items), BLOCK), len(items)):
            for image in pool.map(read, items[start : start + BLOCK]):
                file.write(image.tobytes())


def progress(label: str, starts: range, total: int) -> Iterable[int]:
    """Yield each start of a block and show the progress; if there is no terminal, print one plain line."""
    if not sys.stderr.isatty():
        print(f"{label}: {total} images", file=sys.stderr)
        return starts
    from rich.console import Console
    from rich.progress import track

    return track(starts, description=label, console=Console(stderr=True), transient=True)


def read_image(source: Path | IO[bytes], path: Path | str) -> Image.Image:
    """Decode one image, without changing its mode.

    Args:
        source: the file, or a stream of its content.
        path: its name in messages.

    Raises:
        BenchError: it is not a complete image.
    """
    try:
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context(open_regular(source)) if isinstance(source, Path) else source
            image = stack.enter_context(Image.open(opened))
            image.load()
            return image
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise BenchError(f"{path} is not a complete image; replace or remove it") from error


def channels_first(image: Image.Image) -> Pixels:
    """uint8 (C, H, W) of a grey or RGB image."""
    pixels: NDArray[np.uint8] = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def list_images(folder: Path) -> list[Path]:
    """The .png and .jpg files in a folder, sorted by name, without hidden ones."""
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and entry.name.lower().endswith(IMAGE_SUFFIXES)
        ]
    return [folder / name for name in sorted(names)]


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by name, without hidden ones."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return [folder / name for name in sorted(names)]
