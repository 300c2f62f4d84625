"""What a method sees of an image: never what is missing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from bench.images import MaskedImages

PIXELS = torch.tensor([[[[10, 20], [30, 40]], [[50, 60], [70, 80]]]], dtype=torch.uint8)
OBSERVED = torch.tensor([[[[True, False], [False, True]]]])
CONVERT = "; convert it with torch.from_numpy"
SEEN = [[[[10, 0], [0, 40]], [[50, 0], [0, 80]]]]


def test_complete_pixels_lose_what_is_missing() -> None:
    images = MaskedImages(PIXELS, OBSERVED)
    assert images.pixels.tolist() == SEEN and images.pixels.dtype == torch.uint8
    assert torch.equal(images.values, torch.tensor(SEEN) / 255)
    assert images[:1].pixels.tolist() == SEEN
    assert [batch.pixels.tolist() for batch in images.batches(1)] == [SEEN]
    assert images.to("cpu").pixels.tolist() == SEEN


def test_another_mask_uncovers_nothing() -> None:
    images = MaskedImages(PIXELS, OBSERVED)
    uncovered = dataclasses.replace(images, observed=torch.ones_like(OBSERVED))
    assert uncovered.pixels.tolist() == SEEN


def test_the_callers_pixels_stay_as_they_are() -> None:
    before = PIXELS.clone()
    MaskedImages(PIXELS, OBSERVED)
    assert torch.equal(PIXELS, before)


def test_trusted_pixels_are_not_copied() -> None:
    pixels = PIXELS * OBSERVED
    assert MaskedImages.trusted(pixels, OBSERVED).pixels is pixels


@pytest.mark.parametrize("make", [MaskedImages, MaskedImages.trusted])
def test_pixels_and_mask_that_disagree_are_refused(make: type[MaskedImages]) -> None:
    with pytest.raises(ValueError, match="disagree"):
        make(PIXELS, OBSERVED[..., :1])
    with pytest.raises(ValueError, match="uint8"):
        make(PIXELS.float(), OBSERVED)
    with pytest.raises(ValueError, match="bool"):
        make(PIXELS, OBSERVED.float())


@pytest.mark.parametrize(
    ("pixels", "observed", "told"),
    [
        (PIXELS.numpy(), OBSERVED, f"pixels must be a torch.Tensor, not numpy.ndarray{CONVERT}"),
        (PIXELS, OBSERVED.numpy(), f"observed must be a torch.Tensor, not numpy.ndarray{CONVERT}"),
        (PIXELS.tolist(), OBSERVED, "pixels must be a torch.Tensor, not list"),
        (PIXELS.float(), OBSERVED, "pixels must be uint8 (N, C, H, W), not float32 (1, 2, 2, 2)"),
    ],
)
def test_what_is_not_a_tensor_of_the_right_type_is_refused(pixels: Any, observed: Any, told: str) -> None:
    with pytest.raises(ValueError) as refused:
        MaskedImages(pixels, observed)
    assert str(refused.value) == told


def test_an_array_is_taken_once_it_is_converted() -> None:
    images = MaskedImages(torch.from_numpy(np.zeros((1, 1, 2, 2), np.uint8)), OBSERVED)
    assert len(images) == 1
