"""Convolutional generators: codes to images. The two families are those of `families`."""

from __future__ import annotations

from torch import nn

from bench.methods.nn.families import Shape, is_digit


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


def _double(before: int, after: int, *, bias: bool) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1, bias=bias)
