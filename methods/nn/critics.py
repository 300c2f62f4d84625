"""Convolutional critics: a score for each image, or for each pair of an image and a code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.methods.nn.families import Shape
from bench.methods.nn.features import features_of, few_features_of
from bench.methods.nn.mlp import normalised_mlp

EMBEDDING = 64


class ImageCritic(nn.Module):
    """Images (N, C, H, W) -> scores (N,). The linear layer stands for the paper's last convolution."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.body, features = features_of(shape, width)
        self.score = nn.Linear(features, 1)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.score(self.body(images))
        return scores[:, 0]


class PairCritic(nn.Module):
    """Scores of (image, code) pairs: each is embedded by itself, then both together."""

    def __init__(self, shape: Shape, latent: int, width: int) -> None:
        super().__init__()
        self.image, features = few_features_of(shape, width, latent)
        self.image.append(nn.Linear(features, EMBEDDING))
        self.code = normalised_mlp(latent, EMBEDDING, EMBEDDING)
        self.pair = normalised_mlp(2 * EMBEDDING, EMBEDDING, 1)

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """(N, C, H, W) and (N, latent) -> (N,)."""
        scores: Tensor = self.pair(torch.cat([self.image(images), self.code(codes)], 1))
        return scores[:, 0]
