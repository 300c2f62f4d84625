"""One value for every missing pixel."""

from dataclasses import dataclass

import torch

from bench.imputer import Imputer


@dataclass
class Own(Imputer):
    value: float = 0.5

    def fit(self, train, context):
        pass  # FIT

    def impute(self, images):
        return torch.full(images.pixels.shape, self.value)
