"""A judge for the tests that needs no training: its features are checked by hand."""

from __future__ import annotations

import functools

import torch
from torch import nn

from bench.judges.judge import Judge


class Patches(nn.Module):
    """A judge for tests: means over sixteen patches, and a sign for a class."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(16, 2)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


@functools.cache
def patches() -> Judge:
    metadata = {
        "judge": "Patches",
        "layer": "means of patches (16)",
        "dimensions": 16,
        "normalisation": "none",
        "weights": "sha256:0123456789abcdef0123",
    }
    torch.manual_seed(0)
    return Judge(Patches(), metadata)
