"""What a method may return: the limits of [0, 1], by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.images import MaskedImages
from bench.plugins.output import checked_output

IMAGES = MaskedImages(torch.zeros(1, 1, 1, 3, dtype=torch.uint8), torch.zeros(1, 1, 1, 3, dtype=torch.bool))
ABOVE = float(np.nextafter(np.float32(1), np.float32(2)))
"""The float32 after 1: 1 + 2**-23."""


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, 3)


def test_what_rounding_put_outside_is_clipped() -> None:
    found = checked_output(row(-5e-7, 0.3, ABOVE), IMAGES)
    assert torch.equal(found, row(0, 0.3, 1))


def test_what_lies_inside_stays_as_it_is() -> None:
    given = row(0, 0.3, 1)
    assert checked_output(given, IMAGES) is given


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((1, 1, 1.00001), "[1.0, 1.00001]"),
        ((1.00001, 1.00001, 1.00001), "[1.00001, 1.00001]"),
        ((-0.00002, 0.5, 1), "[-2e-05, 1.0]"),
        ((0.1, 0.5, 1.1), "[0.1, 1.1]"),
    ],
)
def test_what_lies_further_outside_is_refused_with_enough_digits(
    values: tuple[float, ...], told: str
) -> None:
    with pytest.raises(ValueError) as refused:
        checked_output(row(*values), IMAGES)
    assert str(refused.value) == f"impute returned values in {told}; they must lie in [0, 1]"
