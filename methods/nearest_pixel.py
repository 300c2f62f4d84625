"""The start of MCFlow and PRFlow: every missing pixel takes the value of a nearest observed one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bench.images import MaskedImages
from bench.methods.noise import noise_for

GREY = 128
BATCH = 2048


def nearest_fill(images: MaskedImages, seed: int) -> Tensor:
    """Fill each missing pixel from the nearest Chebyshev ring that holds an observed pixel.

    Of several observed pixels in that ring one is drawn at random, once for all channels; the draw
    depends on the seed and on the image itself. An image with no observed pixel becomes mid-grey.

    Returns:
        (N, C, H, W), uint8, on the images' device; observed pixels unchanged.
    """
    return torch.cat([_fill_batch(batch, seed) for batch in images.batches(BATCH)])


def _fill_batch(images: MaskedImages, seed: int) -> Tensor:
    _, height, width = images.shape
    filled = torch.where(images.observed, images.pixels, GREY)
    draws = noise_for(images, seed, images.observed.shape[1:])[:, 0]
    image, row, column = (~images.observed[:, 0]).nonzero(as_tuple=True)
    some = images.observed.any((1, 2, 3))[image]
    image, row, column = image[some], row[some], column[some]
    for radius in range(1, max(height, width)):
        if len(image) == 0:
            break
        source = _observed_in_ring(images.observed[:, 0], image, row, column, radius, draws)
        found = source >= 0
        place = (image[found], row[found], column[found])
        pixels = images.pixels.permute(0, 2, 3, 1).reshape(-1, images.shape[0])[source[found]]
        filled.permute(0, 2, 3, 1)[place] = pixels
        image, row, column = image[~found], row[~found], column[~found]
    return filled


def _observed_in_ring(
    observed: Tensor, image: Tensor, row: Tensor, column: Tensor, radius: int, draws: Tensor
) -> Tensor:
    """One observed pixel at Chebyshev distance `radius` from each given pixel, or -1.

    Args:
        observed: (N, H, W), bool.
        image, row, column: (P,), int64: the pixels asked about.
        draws: (N, H, W), uniform in [0, 1): decides among several.

    Returns:
        (P,), int64: flat index into (N, H, W).
    """
    _, height, width = observed.shape
    padded = functional.pad(observed, (radius,) * 4)
    padded_width = width + 2 * radius
    here = (image * (height + 2 * radius) + row + radius) * padded_width + column + radius
    flat = padded.reshape(-1)
    offsets = [
        (down, right)
        for down in range(-radius, radius + 1)
        for right in range(-radius, radius + 1)
        if max(abs(down), abs(right)) == radius
    ]
    seen = torch.zeros_like(here, dtype=torch.int16)
    for down, right in offsets:
        seen += flat[here + (down * padded_width + right)]
    chosen = (draws[image, row, column] * seen).to(torch.int16)
    source = torch.full_like(here, -1)
    flat_index = (image * height + row) * width + column
    counted = torch.zeros_like(seen)
    for down, right in offsets:
        is_observed = flat[here + (down * padded_width + right)]
        source = torch.where(is_observed & (counted == chosen), flat_index + (down * width + right), source)
        counted += is_observed
    return source
