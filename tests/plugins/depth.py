"""A setting, and one value for every missing pixel."""

from dataclasses import dataclass

import torch

from bench.imputer import Imputer


@dataclass
class Own(Imputer):
    depth: int = 3

    def fit(self, train, context):
        pass

    def impute(self, images):
        return torch.full(images.pixels.shape, 0.5)
