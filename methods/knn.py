"""Nearest images: a missing pixel is the mean of what the most similar training images show there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.impute import KNNImputer
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.batchwise import Batchwise
from bench.methods.mean import observed_mean
from bench.methods.settings import Count


def with_gaps(images: MaskedImages) -> NDArray[np.float64]:
    """(N, D), NaN where missing. Whole numbers, 0 to 255: sums of their products are exact, so that the
    distances, and which of two neighbours is nearer, are the same whatever else is in the batch."""
    values = images.pixels.double().masked_fill_(~images.observed, np.nan)
    gaps: NDArray[np.float64] = values.flatten(1).numpy()
    return gaps


@dataclass
class NearestImages(Batchwise):
    """Mean over the nearest training images, by distance over the pixels that both show.

    Settings:
        neighbours: how many images the mean is over.
        subset: how many training images are searched, evenly spaced: files often come class by class.
    """

    neighbours: Count = 20
    subset: Count = 5000

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        # scikit-learn computes on the CPU.
        self.context = replace(context, device=torch.device("cpu"))
        count = min(self.subset, len(train))
        donors = train[torch.arange(count) * len(train) // count]
        self._mean = observed_mean(train).float()
        self._shown = donors.observed.any(0)
        self._imputer = KNNImputer(n_neighbors=self.neighbours, keep_empty_features=True)
        self._imputer.fit(with_gaps(donors))

    def fill(self, batch: MaskedImages) -> Tensor:
        found = torch.from_numpy(self._imputer.transform(with_gaps(batch))).view(batch.pixels.shape)
        return torch.where(self._shown, found.float() / 255, self._mean)

    display_name = "k nearest images"
    baseline = True
    presets = {"smoke": {"subset": 500}, "quick": {"subset": 2000}}
    citation = """@article{troyanskaya2001missing,
  title = {Missing Value Estimation Methods for {DNA} Microarrays},
  author = {Troyanskaya, Olga and Cantor, Michael and Sherlock, Gavin and Brown, Pat and Hastie, Trevor
            and Tibshirani, Robert and Botstein, David and Altman, Russ B.},
  journal = {Bioinformatics},
  year = {2001}
}"""
