"""The start from the nearest observed pixel, against a pixel-by-pixel search."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.images import MaskedImages
from bench.methods.nearest_pixel import nearest_fill


def images_where_values_tell_places(count: int, height: int, width: int, rate: float) -> MaskedImages:
    """Every pixel of an image has its own value (one channel) and its complement (the other)."""
    places = torch.arange(height * width, dtype=torch.uint8).view(1, 1, height, width)
    pixels = torch.cat([places, 255 - places, places], 1).expand(count, -1, -1, -1)
    observed = torch.rand(count, 1, height, width) >= rate
    return MaskedImages(pixels * observed, observed)


def nearest_ring(observed: torch.Tensor, row: int, column: int) -> set[int]:
    """Flat places of the observed pixels at the least Chebyshev distance."""
    height, width = observed.shape
    distances: dict[int, set[int]] = {}
    for other_row in range(height):
        for other_column in range(width):
            if observed[other_row, other_column]:
                distance = max(abs(other_row - row), abs(other_column - column))
                distances.setdefault(distance, set()).add(other_row * width + other_column)
    return distances[min(distances)] if distances else set()


@given(height=st.integers(1, 9), width=st.integers(1, 9), rate=st.floats(0, 1), seed=st.integers(0, 2**30))
@settings(max_examples=60)
def test_every_pixel_comes_from_its_nearest_ring(height: int, width: int, rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    images = images_where_values_tell_places(3, height, width, rate)
    filled = nearest_fill(images, seed)
    assert filled.dtype == torch.uint8
    for number in range(3):
        observed = images.observed[number, 0]
        for row in range(height):
            for column in range(width):
                first, second, third = filled[number, :, row, column].tolist()
                if not observed.any():
                    assert (first, second, third) == (128, 128, 128)
                    continue
                assert first in nearest_ring(observed, row, column)
                assert second == 255 - first and third == first


def test_ties_are_drawn_evenly_and_by_the_seed() -> None:
    observed = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    observed[0, 0, 1, 1] = False
    pixels = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3)
    images = MaskedImages(pixels * observed, observed)
    drawn = torch.stack([nearest_fill(images, seed)[0, 0, 1, 1] for seed in range(4000)])
    counts = torch.bincount(drawn.long(), minlength=9)
    assert counts[4] == 0
    # 500 expected of each neighbour; 5 standard deviations are 105.
    assert all(abs(int(counts[place]) - 500) < 105 for place in range(9) if place != 4)


def test_an_image_is_filled_alike_in_any_company_and_left_unchanged() -> None:
    torch.manual_seed(0)
    images = images_where_values_tell_places(7, 6, 5, 0.8)
    before = images.pixels.clone()
    together = nearest_fill(images, seed=4)
    alone = torch.cat([nearest_fill(images[place : place + 1], seed=4) for place in range(7)])
    assert torch.equal(together, alone)
    assert torch.equal(images.pixels, before)
