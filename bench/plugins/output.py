"""What a method may return from `impute`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.images import MaskedImages, describe

ROUNDING = 1e-6
"""How far outside [0, 1] a value may lie: float32 sums miss 1 by a few times 1e-7."""


def checked_output(imputed: Any, images: MaskedImages) -> Tensor:
    """An imputation that keeps the contract. Values that rounding put outside [0, 1] are clipped.

    Raises:
        ValueError: it is not a tensor (N, C, H, W) float32, finite, in [0, 1].
    """
    if not isinstance(imputed, torch.Tensor):
        raise ValueError(f"impute must return a tensor, not {type(imputed).__name__}")
    if imputed.shape != images.pixels.shape or imputed.dtype != torch.float32:
        raise ValueError(f"impute must return float32 {tuple(images.pixels.shape)}, not {describe(imputed)}")
    if not imputed.isfinite().all():
        raise ValueError("impute returned NaN or infinite values")
    # As numpy's float32, they are printed with as many digits as tell them from 0 and 1.
    low, high = np.float32(imputed.min().item()), np.float32(imputed.max().item())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(f"impute returned values in [{low!s}, {high!s}]; they must lie in [0, 1]")
    return imputed.clamp(0, 1) if low < 0 or high > 1 else imputed
