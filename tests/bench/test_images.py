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
