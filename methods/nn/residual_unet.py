"""A small U-Net with residual blocks, for images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

GROUPS = 8


class Block(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.convolution = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        sum_: Tensor = x + self.convolution(functional.silu(self.norm(x)))
        return sum_


class UNet(nn.Module):
    """(N, channels_in, H, W) -> (N, channels_out, H, W).

    Args:
        channels_in, channels_out: of the images.
        widths: channels at each resolution, multiples of 8; each one after the first halves the sides.
    """

    def __init__(self, channels_in: int, channels_out: int, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.multiple = 2 ** len(pairs)
        self.first = nn.Conv2d(channels_in, widths[0], 3, padding=1)
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairs)
        self.blocks_down = nn.ModuleList(Block(width) for width in widths)
        self.ups = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.blocks_up = nn.ModuleList(Block(width) for width in widths)
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.last = nn.Conv2d(widths[0], channels_out, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        padded = functional.pad(images, (0, -width % self.multiple, 0, -height % self.multiple))
        x = self.blocks_down[0](self.first(padded))
        kept = []
        for down, block in zip(self.downs, list(self.blocks_down)[1:], strict=True):
            kept.append(x)
            x = block(down(x))
        x = self.blocks_up[-1](x)
        for level in reversed(range(len(kept))):
            wider = functional.interpolate(self.ups[level](x), scale_factor=2.0, mode="nearest")
            x = self.blocks_up[level](kept[level] + wider)
        predicted: Tensor = self.last(functional.silu(self.norm(x)))
        return predicted[:, :, :height, :width]
