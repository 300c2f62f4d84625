"""MisGAN's networks: three generators, of which the imputer is one, and their critics.

The two families are those of `families`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from bench.methods.nn.critics import ImageCritic
from bench.methods.nn.families import Shape, is_digit
from bench.methods.nn.generators import generator


def networks(shape: Shape, latent: int, width: int) -> dict[str, nn.Module]:
    """Three generators and a critic for each, for images (C, H, W)."""
    mask_shape = (1, *shape[1:])
    return {
        "data_generator": generator(latent, shape, width),
        "missingness_generator": generator(latent, mask_shape, width),
        "imputer": imputer(shape, width),
        "data_critic": ImageCritic(shape, width),
        "mask_critic": ImageCritic(mask_shape, width),
        "imputation_critic": ImageCritic(shape, width),
    }


def imputer(shape: Shape, width: int) -> nn.Sequential:
    """Filled images (N, C, H, W) -> images in (0, 1) of the same shape.

    28x28: an MLP with three hidden layers of 784, ReLU. Otherwise: a U-Net.
    """
    channels, height, breadth = shape
    if not is_digit(shape):
        return nn.Sequential(UNet(channels, width), nn.Sigmoid())
    values, hidden = channels * height * breadth, height * breadth
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
