"""A method for the tests."""

from dataclasses import dataclass

import torch

from bench.imputer import Imputer


@dataclass
class Constant(Imputer):
    """Every missing pixel takes one value."""

    value: float = 0.25
    bold: bool = False
    presets = {"smoke": {"value": 0.5}}
    for_dataset = {"tiny": {"bold": True}}

    def fit(self, train, context):
        pass

    def impute(self, images):
        return torch.full(images.pixels.shape, self.value)
