"""Convolutional generators, critic bodies and imputers that MisGAN and PBiGAN share.

Two families, after the two papers' published settings (Li, Jiang and Marlin, "MisGAN", ICLR 2019; Li and
Marlin, "Learning from irregularly-sampled time series", ICML 2020): one for 28x28 images, without
normalisation, and one for sides divisible by 16, theirs for 64x64 CelebA with one level left out.
`width` is the number of channels next to the image, 64 in both papers.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from bench.methods.nn.convolution import Conv2d, LeakyReLU

Shape = tuple[int, int, int]


def is_digit(shape: Shape) -> bool:
    """Whether (C, H, W) belongs to the 28x28 family.

    Raises:
        ValueError: no family has networks for this size.
    """
    _, height, width = shape
    if (height, width) == (28, 28):
        return True
    if height % 16 or width % 16 or not height or not width:
        raise ValueError(
            f"no networks for images of {height}x{width}: supported are 28x28 and sides divisible by 16"
        )
    return False


def check_batch(shape: Shape, size: int) -> None:
    """Raises ValueError where the networks for images (C, H, W) cannot learn from batches of this size."""
    if size < 2 and not is_digit(shape):
        raise ValueError(
            "the networks for these images normalise over a batch, so it takes two images at least: give "
            "more training images, or a larger batch_size"
        )


def generator(latent: int, shape: Shape, width: int) -> nn.Module:
    """Codes (N, latent) -> images before their sigmoid, (N, C, H, W)."""
    return (DigitGenerator if is_digit(shape) else PhotoGenerator)(latent, shape, width)


class DigitGenerator(nn.Sequential):
    """A linear layer to 4x4, three transposed convolutions, ReLU between."""

    def __init__(self, latent: int, shape: Shape, width: int) -> None:
        super().__init__(
            nn.Linear(latent, 4 * width * 16),
            nn.ReLU(),
            nn.Unflatten(1, (4 * width, 4, 4)),
            nn.ConvTranspose2d(4 * width, 2 * width, 5),
            nn.ReLU(),
            # 8x8 less its last row and column: two more layers then end at 28x28.
            nn.ZeroPad2d((0, -1, 0, -1)),
            nn.ConvTranspose2d(2 * width, width, 5),
            nn.ReLU(),
            nn.ConvTranspose2d(width, shape[0], 8, stride=2),
        )


class PhotoGenerator(nn.Sequential):
    """A linear layer to an eighth of each side, three doublings, BatchNorm and ReLU between."""

    def __init__(self, latent: int, shape: Shape, width: int) -> None:
        channels, height, breadth = shape
        start = (4 * width, height // 8, breadth // 8)
        features = start[0] * start[1] * start[2]
        super().__init__(
            nn.Linear(latent, features, bias=False),
            nn.BatchNorm1d(features),
            nn.ReLU(),
            nn.Unflatten(1, start),
            _double(4 * width, 2 * width, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            _double(2 * width, width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            _double(width, channels, bias=True),
        )


def body(shape: Shape, width: int) -> tuple[nn.Sequential, int]:
    """Images (N, C, H, W) -> features (N, F), for critics and encoders, and F.

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
    features = 4 * width * -(-height // 8) * -(-breadth // 8)
    return nn.Sequential(*layers, nn.Flatten()), features


class ImageCritic(nn.Module):
    """Images (N, C, H, W) -> scores (N,). The linear layer stands for the paper's last convolution."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.body, features = body(shape, width)
        self.score = nn.Linear(features, 1)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.score(self.body(images))
        return scores[:, 0]


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


def _double(before: int, after: int, *, bias: bool) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1, bias=bias)
