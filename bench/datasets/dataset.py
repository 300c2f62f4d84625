"""What a data set is, once read: complete images, split in train and test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Complete images of one size, split in train and test.

    Attributes:
        name: the name or path that the user gave.
        train, test: uint8 (N, C, H, W), C 1 or 3; may be a read-only memory map.
        train_labels, test_labels: int64 (N,), or None.
        official: the pixels come from the official files, whose checksums were verified.
        display_name: its spelling in tables and figures; "" if it is `name`.
        citation: BibTeX of its source; "" if there is none.

    Raises:
        BenchError: an array does not have such a shape or type.
    """

    name: str
    train: Pixels
    test: Pixels
    train_labels: Labels | None = None
    test_labels: Labels | None = None
    official: bool = False
    display_name: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        for part, pixels, labels in (
            ("train", self.train, self.train_labels),
            ("test", self.test, self.test_labels),
        ):
            if pixels.dtype != np.uint8 or pixels.ndim != 4 or not pixels.size:
                raise BenchError(
                    f"{self.name}: {part} must be non-empty uint8 (N, C, H, W), "
                    f"not {pixels.dtype} {pixels.shape}"
                )
            if labels is not None and (labels.dtype != np.int64 or labels.shape != pixels.shape[:1]):
                raise BenchError(
                    f"{self.name}: {part}_labels must be int64 ({len(pixels)},), "
                    f"not {labels.dtype} {labels.shape}; give one label an image"
                )
        if self.train.shape[1:] != self.test.shape[1:]:
            raise BenchError(
                f"{self.name}: train images are {size_of(self.train)}, test images {size_of(self.test)}; "
                "make them one size"
            )
        if self.train.shape[1] not in (1, 3):
            raise BenchError(
                f"{self.name}: images have {self.train.shape[1]} channels; give 1 (grey) or 3 (RGB)"
            )

    @cached_property
    def fingerprint(self) -> str:
        """ "sha256:" and the hash of the shapes and complete pixels of train and test, without labels."""
        digest = hashlib.sha256()
        for part, pixels in (("train", self.train), ("test", self.test)):
            digest.update(f"{part} {' '.join(map(str, pixels.shape))}\n".encode())
            for start in range(0, len(pixels), 4096):
                digest.update(np.ascontiguousarray(pixels[start : start + 4096]).data)
        return f"sha256:{digest.hexdigest()}"


def size_of(pixels: Pixels) -> str:
    """ "3x32x32": channels, height and width of the images, for a message."""
    return "x".join(map(str, pixels.shape[1:]))


def subset(length: int, size: int | None) -> NDArray[np.int64]:
    """Which images a smaller problem takes: evenly spaced, floor(i * length / size), for every seed.

    Files may be sorted by class, so the first images would not represent all of them.

    Args:
        length: how many images there are.
        size: how many to take; None takes all.

    Returns:
        (size,) int64, increasing.

    Raises:
        BenchError: size is not in [1, length].
    """
    if size is None:
        return np.arange(length, dtype=np.int64)
    if not 1 <= size <= length:
        raise BenchError(f"cannot take {size} of {length} images; ask for 1 to {length}")
    return np.arange(size, dtype=np.int64) * length // size
