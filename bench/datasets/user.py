"""A user's own images: an .npz file, or a folder of images."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bench.datasets.dataset import Dataset, Labels, Pixels
from bench.datasets.decoded import (
    cached_dataset,
    channels_first,
    decode,
    list_folders,
    list_images,
    read_image,
)
from bench.errors import BenchError
from bench.util.text import counted

CHANNELS = {"1": 1, "L": 1, "RGB": 3}
RECIPE = "upright, as their EXIF orientation says"


def load(path: Path) -> Dataset:
    """Read a user's own data set. Its name is the path that the user gave.

    Args:
        path: an .npz file (see `load_npz`) or a folder of images (see `load_folder`).

    Raises:
        BenchError: it is missing, or its content is not suitable; the message names the file.
    """
    if path.is_dir():
        return load_folder(path)
    if not path.is_file():
        raise BenchError(f"{path} does not exist; give the path of an .npz file or a folder of images")
    if path.suffix != ".npz":
        raise BenchError(f"{path} is neither an .npz file nor a folder of images; give one of these")
    return load_npz(path)


def load_npz(path: Path) -> Dataset:
    """Read `train` and `test` of an .npz file, and `train_labels` and `test_labels` if it has them.

    Images are (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3. They are uint8, or floating point in
    [0, 1], which is rounded to the nearest of 256 levels. Labels are integers from 0 on, (N,).

    Raises:
        BenchError: an array is missing, has another shape or type, or holds NaN, values out of range or
            Python objects.
    """
    arrays = _read_npz(path)
    for part in ("train", "test"):
        if part not in arrays:
            raise BenchError(
                f"{path} has no array {part!r}; save it with np.savez(path, train=..., test=...)"
            )
    train, test = (_images(arrays[part], f"{path}: {part}") for part in ("train", "test"))
    train_labels, test_labels = (_labels(path, part, arrays) for part in ("train_labels", "test_labels"))
    return Dataset(str(path), train, test, train_labels, test_labels)


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise BenchError(f"{path} holds one bare array; save it with np.savez(path, train=..., test=...)")
        with loaded as archive:
            wanted = ("train", "test", "train_labels", "test_labels")
            arrays = {name: archive[name] for name in archive.files if name in wanted}
            for name, array in arrays.items():
                if not isinstance(array, np.ndarray):
                    raise BenchError(f"{path}: {name} is not an array; save it again with np.savez")
            return arrays
    except BenchError:
        raise
    except PermissionError as error:
        raise BenchError(f"{path} cannot be read ({error.strerror})") from error
    except MemoryError as error:
        raise BenchError(f"{path} claims to hold more than fits in memory; save fewer images") from error
    except ValueError as error:
        raise BenchError(
            f"{path} holds Python objects or is not an .npz file; save plain arrays with np.savez"
        ) from error
    except Exception as error:
        # A damaged or foreign archive can raise nearly anything.
        raise BenchError(f"{path} is truncated or damaged; save it again with np.savez") from error


def _images(array: NDArray[Any], origin: str) -> Pixels:
    """uint8 (N, C, H, W) from an array of any layout and dtype that `load_npz` reads."""
    if array.dtype != np.uint8:
        array = _eight_bits(array, origin)
    if not array.size:
        raise BenchError(f"{origin} is empty, {array.shape}; give at least one image")
    if array.ndim == 3:
        return np.ascontiguousarray(array[:, None])
    if array.ndim != 4:
        raise BenchError(f"{origin} has shape {array.shape}; give (N, H, W), (N, H, W, C) or (N, C, H, W)")
    first, last = array.shape[1] in (1, 3), array.shape[3] in (1, 3)
    if first and last:
        raise BenchError(
            f"{origin} has shape {array.shape}, where the channels may come first or last; give wider images"
        )
    if not first and not last:
        raise BenchError(
            f"{origin} has shape {array.shape}, without 1 or 3 channels; give grey or RGB images"
        )
    return np.ascontiguousarray(array if first else array.transpose(0, 3, 1, 2))


def _eight_bits(array: NDArray[Any], origin: str) -> Pixels:
    if not np.issubdtype(array.dtype, np.floating):
        raise BenchError(f"{origin} is {array.dtype}; give uint8, or floating point in [0, 1]")
    if not array.size:
        return array.astype(np.uint8)
    low, high = float(array.min()), float(array.max())
    if np.isnan(low):
        raise BenchError(f"{origin} holds NaN; give complete images; bench removes pixels itself")
    if low < 0 or high > 1:
        raise BenchError(f"{origin} runs from {low:g} to {high:g}; scale it to [0, 1] or give uint8")
    # Half precision cannot hold 255 levels times 1 exactly.
    levels: Pixels = np.rint(array.astype(np.result_type(array.dtype, np.float32)) * 255).astype(np.uint8)
    return levels


def _labels(path: Path, part: str, arrays: dict[str, NDArray[Any]]) -> Labels | None:
    if part not in arrays:
        return None
    labels = arrays[part]
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise BenchError(f"{path}: {part} is {labels.dtype} {labels.shape}; give one integer an image")
    if labels.size and labels.min() < 0:
        raise BenchError(f"{path}: {part} holds {labels.min()}; number the classes from 0 on")
    return labels.astype(np.int64)


def load_folder(folder: Path) -> Dataset:
    """Read a folder of .png and .jpg images of one size, grey (8 bits) or RGB.

    Each is turned or mirrored as its EXIF orientation says, so that it is upright, as viewers show it.

    If it has folders `train/` and `test/`, each holds images, or one folder of images for each class. Classes
    are numbered in alphabetical order. Without these folders, the first 80 % of the images by name are for
    training.

    Raises:
        BenchError: a folder is empty, an image is damaged or of another kind than the first, or the classes
            of `train/` and `test/` differ.
    """
    parts, classes = _parts(folder)
    files = [*parts["train"], *parts["test"]]
    first = _upright(files[0])
    if first.mode not in CHANNELS:
        raise BenchError(f"{files[0]} has mode {first.mode}; convert it to grey (8 bits) or RGB")
    return cached_dataset(str(folder), RECIPE, files, partial(_build, parts, classes, first))


def _parts(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """The files for training and testing, and the classes, if any."""
    if not any((folder / part).is_dir() for part in ("train", "test")):
        files = list_images(folder)
        if len(files) < 2:
            fault = f"{folder} holds {counted(len(files), '.png or .jpg image')}"
            raise BenchError(f"{fault}; give at least 2, or folders train/ and test/")
        split = len(files) * 4 // 5
        return {"train": files[:split], "test": files[split:]}, []
    parts: dict[str, list[Path]] = {}
    classes: dict[str, list[str]] = {}
    for part in ("train", "test"):
        parts[part], classes[part] = _part(folder / part)
    odd = set(classes["train"]) ^ set(classes["test"])
    if odd:
        raise BenchError(
            f"{folder}: class folder {min(odd)!r} is not in both train/ and test/; give the same classes"
        )
    return parts, classes["train"]


def _part(folder: Path) -> tuple[list[Path], list[str]]:
    if not folder.is_dir():
        raise BenchError(f"{folder} is missing; give both train/ and test/")
    images, folders = list_images(folder), list_folders(folder)
    if images and folders:
        raise BenchError(f"{folder} holds images beside class folders; keep one of the two")
    for each in folders:
        found = list_images(each)
        if not found:
            raise BenchError(f"{each} holds no .png or .jpg images; fill or remove it")
        images += found
    if not images:
        raise BenchError(f"{folder} holds no .png or .jpg images; put some there")
    return images, [each.name for each in folders]


def _build(parts: dict[str, list[Path]], classes: Sequence[str], first: Image.Image, target: Path) -> None:
    shape = (CHANNELS[first.mode], first.height, first.width)
    for part, files in parts.items():
        decode(f"{part} images", files, partial(_read, first), shape, target / f"{part}.npy")
        if classes:
            labels = np.array([classes.index(path.parent.name) for path in files], dtype=np.int64)
            np.save(target / f"{part}_labels.npy", labels)


def _read(first: Image.Image, path: Path) -> Pixels:
    image = _upright(path)
    if CHANNELS.get(image.mode) != CHANNELS[first.mode] or image.size != first.size:
        raise BenchError(
            f"{path} is {image.mode} {image.width}x{image.height}, the first image {first.mode} "
            f"{first.width}x{first.height}; give images of one size and kind"
        )
    return channels_first(image.convert("L") if image.mode == "1" else image)


def _upright(path: Path) -> Image.Image:
    """One image, turned as its EXIF orientation says; as it is stored if its EXIF data cannot be read."""
    image = read_image(path, path)
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, KeyError, EOFError, struct.error):
        return image
