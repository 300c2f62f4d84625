"""MisGAN's networks: three generators, of which the imputer is one, and their critics.

The two families are those of `families`. Their code for MNIST has fully connected ones too.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from bench.methods.nn.critics import ImageCritic
from bench.methods.nn.families import Shape, is_digit
from bench.methods.nn.generators import generator

Architecture = Literal["convolutional", "dense"]


def networks(
    shape: Shape, latent: int, width: int, architecture: Architecture = "convolutional"
) -> dict[str, nn.Module]:
    """Three generators and a critic for each, for images (C, H, W)."""
    mask_shape = (1, *shape[1:])
    if architecture == "dense":
        return {
            "data_generator": dense_generator(latent, shape),
            "missingness_generator": dense_generator(latent, mask_shape),
            "imputer": dense_imputer(shape),
            "data_critic": DenseCritic(shape),
            "mask_critic": DenseCritic(mask_shape),
            "imputation_critic": DenseCritic(shape),
        }
    return {
        "data_generator": generator(latent, shape, width),
        "missingness_generator": generator(latent, mask_shape, width),
        "imputer": imputer(shape, width),
        "data_critic": ImageCritic(shape, width),
        "mask_critic": ImageCritic(mask_shape, width),
        "imputation_critic": ImageCritic(shape, width),
    }


def dense_generator(latent: int, shape: Shape) -> nn.Sequential:
    """Codes (N, latent) -> images (N, C, H, W), unbounded: hidden layers of 256 and 512, ReLU."""
    widths = [latent, 256, 512, prod(shape)]
    return nn.Sequential(*_layers(widths), nn.Unflatten(1, shape))


class DenseCritic(nn.Module):
    """Images (N, C, H, W) -> scores (N,): hidden layers of 512, 256 and 128, ReLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), *_layers([prod(shape), 512, 256, 128, 1]))

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.layers(images)
        return scores[:, 0]


def _layers(widths: list[int]) -> list[nn.Module]:
    """Linear layers with a ReLU between each two."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]


def imputer(shape: Shape, width: int) -> nn.Sequential:
    """Filled images (N, C, H, W) -> images in (0, 1) of the same shape.

    28x28: an MLP with three hidden layers of 784, ReLU. Otherwise: a U-Net.
    """
    if not is_digit(shape):
        return nn.Sequential(UNet(shape[0], width), nn.Sigmoid())
    return dense_imputer(shape)


def dense_imputer(shape: Shape) -> nn.Sequential:
    """Filled images (N, C, H, W) -> images in (0, 1): three hidden layers as wide as a channel, ReLU."""
    values, hidden = prod(shape), shape[1] * shape[2]
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(values, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, values),
        nn.Sigmoid(),
        nn.Unflatten(1, shape),
    )


class UNet(nn.Module):
    """Four halvings by 4x4 convolutions and as many doublings, each met by its level's input.

    Ronneberger et al., MICCAI 2015, in the form of Isola et al., CVPR 2017: LeakyReLU(0.2) on the way
    down, ReLU on the way up, BatchNorm on all but the first, the innermost and the last.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        down: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1)]
        up: list[nn.Module] = [
            nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, channels, 4, stride=2, padding=1))
        ]
        for before, after in pairwise(widths):
            innermost = after == widths[-1]
            halve = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=innermost)
            normalise = nn.Identity() if innermost else nn.BatchNorm2d(after)
            down.append(nn.Sequential(nn.LeakyReLU(0.2), halve, normalise))
            joined = after if innermost else 2 * after
            double = nn.ConvTranspose2d(joined, before, 4, stride=2, padding=1, bias=False)
            up.append(nn.Sequential(nn.ReLU(), double, nn.BatchNorm2d(before)))
        self.down = nn.ModuleList(down)
        self.up = nn.ModuleList(reversed(up))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), unbounded; H and W divisible by 16."""
        levels = [images]
        for halve in self.down:
            levels.append(halve(levels[-1]))
        rising = levels.pop()
        for number, double in enumerate(self.up):
            rising = double(rising if number == 0 else torch.cat([levels.pop(), rising], 1))
        return rising
