"""Imputing some images at a time: what most methods do alike."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer


class Batchwise(Imputer):
    """A method that fills in a batch of images, each by itself. `fit` sets `context`.

    Class attributes:
        impute_batch: how many images `fill` gets at once.
    """

    impute_batch = 500
    context: FitContext

    @abstractmethod
    def fill(self, batch: MaskedImages) -> Tensor:
        """Impute a batch on the context's device.

        Returns:
            float32 in [0, 1], N * C * H * W values in that order, in any shape.
        """

    @torch.no_grad()
    def impute(self, images: MaskedImages) -> Tensor:
        """(N, C, H, W), float32, on the CPU, observed pixels put back."""
        imputed = torch.empty(images.pixels.shape)
        batches = images.batches(self.impute_batch)
        for number, batch in enumerate(batches):
            batch = batch.to(self.context.device)
            start = number * self.impute_batch
            imputed[start : start + len(batch)] = batch.paste(self.fill(batch).view(batch.pixels.shape))
        return imputed
