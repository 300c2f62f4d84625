"""Convolutional features of images, for critics and encoders. The two families are those of `families`."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from bench.methods.nn.double_backward import Conv2d, LeakyReLU
from bench.methods.nn.families import Shape, is_digit


def features_of(shape: Shape, width: int) -> tuple[nn.Sequential, int]:
    """Images (N, C, H, W) -> features (N, F); and F.

    Three 5x5 convolutions, each halving the sides. Each image's features are its own: no batch statistics.
    """
    channels, height, breadth = shape
    widths = [channels, width, 2 * width, 4 * width]
    layers: list[nn.Module] = []
    for level, (before, after) in enumerate(pairwise(widths)):
        normalised = level > 0 and not is_digit(shape)
        layers.append(Conv2d(before, after, 5, stride=2, padding=2, bias=not normalised))
        if normalised:
            layers.append(nn.InstanceNorm2d(after, affine=True))
        layers.append(LeakyReLU(0.0 if is_digit(shape) else 0.2))
    count = 4 * width * -(-height // 8) * -(-breadth // 8)
    return nn.Sequential(*layers, nn.Flatten()), count


def few_features_of(shape: Shape, width: int, latent: int) -> tuple[nn.Sequential, int]:
    """As `features_of`; photos have `latent` features, by the layer that is the paper's last convolution."""
    layers, count = features_of(shape, width)
    if is_digit(shape):
        return layers, count
    return layers.append(nn.Linear(count, latent)), latent
