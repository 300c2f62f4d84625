"""The mean of each pixel: what is known before an image is looked at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer

BATCH = 4096


@dataclass
class Mean(Imputer):
    """Every missing pixel takes its mean over the training images that show it."""

    display_name = "Pixel mean"
    baseline = True

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        self._mean = observed_mean(train).float()

    def impute(self, images: MaskedImages) -> Tensor:
        return images.paste(self._mean.to(images.device).expand(len(images), -1, -1, -1))


def observed_mean(images: MaskedImages) -> Tensor:
    """Mean of each value over the images in which it is observed.

    A value that no image shows takes its channel's mean; a channel that no image shows takes 0.5.

    Returns:
        (C, H, W), float64 in [0, 1], on the images' device.
    """
    sums = torch.zeros(images.shape, dtype=torch.float64, device=images.device)
    counts = torch.zeros((1, *images.shape[1:]), dtype=torch.float64, device=images.device)
    for batch in images.batches(BATCH):
        sums += (batch.pixels * batch.observed).sum(0)
        counts += batch.observed.sum(0)
    sums /= 255
    channel = (
        sums.sum((1, 2), keepdim=True) / counts.sum()
        if counts.any()
        else torch.full_like(sums[:, :1, :1], 0.5)
    )
    return torch.where(counts > 0, sums / counts.clamp(min=1), channel)
