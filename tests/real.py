"""Small slices of real data, read without the code under test."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.images import MaskedImages

FILES = Path(__file__).parents[1] / "bench" / "datasets" / "files"


def mnist_pixels(split: str, count: int) -> Tensor:
    """The first digits of a split ("train" or "t10k"): (count, 1, 28, 28), uint8."""
    with gzip.open(FILES / f"{split}-images-idx3-ubyte.gz") as file:
        content = file.read(16 + count * 784)
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=16).copy()).view(-1, 1, 28, 28)


def mnist(split: str, count: int, rate: float) -> tuple[Tensor, MaskedImages]:
    """Complete digits, and the same with pixels missing at random."""
    pixels = mnist_pixels(split, count)
    generator = torch.Generator().manual_seed(len(split))
    observed = torch.rand(count, 1, 28, 28, generator=generator) >= rate
    return pixels, MaskedImages(pixels * observed, observed)


def rmse_on_missing(truth: Tensor, images: MaskedImages, imputed: Tensor) -> float:
    """Root mean squared error over the missing values, in [0, 1] units."""
    missing = ~images.observed.expand(truth.shape)
    return float((imputed - truth.float() / 255)[missing].square().mean().sqrt())
