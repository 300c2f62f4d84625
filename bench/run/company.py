"""Whether a method imputes an image by that image alone, or uses the other test images in the call."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import Imputer

FEW = 4
"""How many images are imputed again, without the others."""

TOLERANCE = 1 / 255
"""How much values may differ, as a root mean square: products round differently in other batches."""


def company(method: Imputer, images: MaskedImages, imputed: Tensor) -> str | None:
    """Impute a few images again without the others, and compare.

    Args:
        images: the test images; imputed: (N, C, H, W), what the method made of them all.

    Returns:
        What differs, on one line; None if the images are imputed as they were.
    """
    if len(images) <= FEW:
        return None
    rows = torch.linspace(0, len(images) - 1, FEW).long()
    few = images[rows]
    try:
        alone = method.impute(few).detach().cpu()
        apart = (alone - imputed[rows]).square().masked_select(~few.observed).mean().sqrt().item()
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return f"{FEW} test images cannot be imputed without the others: {why}"
    if apart <= TOLERANCE:
        return None
    return f"{FEW} test images are imputed otherwise without the others: values differ by {apart:.3f} (RMS)"
