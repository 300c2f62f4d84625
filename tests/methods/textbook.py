"""A slow rendering of MCFlow and PRFlow, straight from the formulas, and of critics in PyTorch's own layers.

Couplings are full-width and masked, log p(x_hat) takes a third pass through the flow, and autograd
goes through everything. Nothing of the flows here is shared with the methods under test.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bench.methods.nn import double_backward


class MaskedCoupling(nn.Module):
    """z = m*x + (1-m)*(x*exp(s(m*x)) + t(m*x)), m = 1 where kept."""

    def __init__(self, kept: Tensor, hidden: int) -> None:
        super().__init__()
        self.kept = kept
        dimension = len(kept)
        self.scale = full_width_mlp(dimension, hidden)
        self.translate = full_width_mlp(dimension, hidden)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        m = self.kept
        s = torch.tanh(self.scale(m * x))
        z = m * x + (1 - m) * (x * torch.exp(s) + self.translate(m * x))
        return z, ((1 - m) * s).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        m = self.kept
        s = torch.tanh(self.scale(m * z))
        x: Tensor = m * z + (1 - m) * ((z - self.translate(m * z)) * torch.exp(-s))
        return x


def full_width_mlp(dimension: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dimension, hidden),
        nn.LeakyReLU(0.01),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(0.01),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(0.01),
        nn.Linear(hidden, dimension),
    )


class TextbookFlow(nn.Module):
    def __init__(self, couplings: list[MaskedCoupling]) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(couplings)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.zeros(len(x), dtype=x.dtype)
        for coupling in self.couplings:
            x, log_det = coupling(x)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor) -> Tensor:
        for coupling in reversed(list(self.couplings)):
            assert isinstance(coupling, MaskedCoupling)
            z = coupling.inverse(z)
        return z

    def log_prob(self, x: Tensor) -> Tensor:
        z, log_det = self(x)
        dimension = x.shape[1]
        total: Tensor = -0.5 * (z**2).sum(1) - 0.5 * dimension * math.log(2 * math.pi) + log_det
        return total


def losses(
    flow: TextbookFlow, imputer: nn.Module, x: Tensor, observed: Tensor, through_flow: bool
) -> tuple[dict[str, Tensor], Tensor]:
    """J, J1 and J2 as methods.md states them, and x_hat. `through_flow`: H's input keeps G's gradient."""
    z, _ = flow(x)
    x_hat = flow.inverse(imputer(z if through_flow else z.detach()))
    terms = {
        "J": -flow.log_prob(x).mean(),
        "J1": -flow.log_prob(x_hat).mean(),
        "J2": (((x_hat - x) ** 2) * observed).sum(),
    }
    return terms, x_hat


def gradient_prior(image: list[list[float]], alpha: float, smoothing: float) -> float:
    """J3 of one grey image, difference by difference."""
    total = 0.0
    for row in range(len(image)):
        for column in range(len(image[0])):
            for down, right in ((1, 0), (0, 1)):
                if row + down < len(image) and column + right < len(image[0]):
                    difference = image[row + down][column + right] - image[row][column]
                    total += (difference**2 + smoothing**2) ** (alpha / 2) - smoothing**alpha
    return total


def in_pytorch_s_layers(network: nn.Module) -> nn.Module:
    """The network itself, its convolutions and ramps replaced by PyTorch's, with the same weights."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, double_backward.Conv2d):
                place: Any = (child.kernel_size, child.stride, child.padding)
                twin = nn.Conv2d(child.in_channels, child.out_channels, *place)
                twin.weight, twin.bias = child.weight, child.bias
                setattr(module, name, twin)
            if isinstance(child, double_backward.LeakyReLU):
                setattr(module, name, nn.LeakyReLU(child.slope) if child.slope else nn.ReLU())
    return network
