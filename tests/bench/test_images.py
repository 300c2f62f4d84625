"""What `MaskedImages` takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bench.images import MaskedImages

PIXELS = torch.zeros(2, 1, 3, 3, dtype=torch.uint8)
OBSERVED = torch.zeros(2, 1, 3, 3, dtype=torch.bool)
CONVERT = "; convert it with torch.from_numpy"


@pytest.mark.parametrize(
    ("pixels", "observed", "told"),
    [
        (PIXELS.numpy(), OBSERVED, f"pixels must be a torch.Tensor, not numpy.ndarray{CONVERT}"),
        (PIXELS, OBSERVED.numpy(), f"observed must be a torch.Tensor, not numpy.ndarray{CONVERT}"),
        (PIXELS.tolist(), OBSERVED, "pixels must be a torch.Tensor, not list"),
        (PIXELS.float(), OBSERVED, "pixels must be uint8 (N, C, H, W), not float32 (2, 1, 3, 3)"),
    ],
)
def test_what_is_not_a_tensor_of_the_right_type_is_refused(pixels: Any, observed: Any, told: str) -> None:
    with pytest.raises(ValueError) as refused:
        MaskedImages(pixels, observed)
    assert str(refused.value) == told


def test_an_array_is_taken_once_it_is_converted() -> None:
    images = MaskedImages(torch.from_numpy(np.zeros((2, 1, 3, 3), np.uint8)), OBSERVED)
    assert len(images) == 2


@pytest.mark.parametrize("count", [1, 5000])
def test_complete_images_lose_what_the_mask_hides(count: int) -> None:
    """Only the last image is complete: it would be missed if the images were looked at in part."""
    observed = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    complete = torch.full((count, 3, 4, 4), 7, dtype=torch.uint8)
    pixels = complete * observed
    pixels[-1] = complete[-1]
    images = MaskedImages(pixels, observed)
    assert torch.equal(images.pixels, torch.where(observed, 7, 0).expand(count, 3, 4, 4).byte())
    assert torch.equal(pixels[-1], complete[-1]), "the caller's own tensor stays"
    kept = MaskedImages(images.pixels, observed)
    assert kept.pixels is images.pixels, "what keeps the contract is not copied"
