"""Its numbers depend on a setting, a preset and the number of threads."""

from dataclasses import dataclass

import torch

from bench.imputer import Imputer


@dataclass
class Own(Imputer):
    shift: float = 0.0
    presets = {"smoke": {"shift": 0.125}, "smoke/cifar10": {"shift": 0.375}}

    def fit(self, train, context):
        self.threads = torch.get_num_threads()

    def impute(self, images):
        grey = torch.rand(images.pixels.shape, generator=torch.Generator().manual_seed(self.threads))
        return (grey * 0.5 + self.shift).clamp(0, 1)
