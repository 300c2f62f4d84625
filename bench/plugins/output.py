"""What a method may return from `impute`."""

from __future__ import annotations

from typing import Any

import torch

from bench.images import MaskedImages, describe


def check_output(imputed: Any, images: MaskedImages) -> None:
    """Refuse an imputation that does not keep the contract.

    Raises:
        ValueError: it is not (N, C, H, W) float32, finite, in [0, 1].
    """
    if not isinstance(imputed, torch.Tensor):
        raise ValueError(f"impute must return a tensor, not {type(imputed).__name__}")
    if imputed.shape != images.pixels.shape or imputed.dtype != torch.float32:
        raise ValueError(f"impute must return float32 {tuple(images.pixels.shape)}, not {describe(imputed)}")
    if not imputed.isfinite().all():
        raise ValueError("impute returned NaN or infinite values")
    low, high = float(imputed.min()), float(imputed.max())
    if low < 0 or high > 1:
        raise ValueError(f"impute returned values in [{low:.3g}, {high:.3g}]; they must lie in [0, 1]")
