"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

LEAK = 0.01


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of the given widths with LeakyReLU(0.01) between."""
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), nn.LeakyReLU(LEAK)]
    return nn.Sequential(*layers[:-1])


def normalised_mlp(width_in: int, hidden: int, width_out: int) -> nn.Sequential:
    """One hidden layer, normalised (LayerNorm) and bent by LeakyReLU(0.2)."""
    return nn.Sequential(
        nn.Linear(width_in, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, width_out)
    )


class ResidualMLP(nn.Sequential):
    """z -> z + layers(z). It starts as the identity: the last layer's weights are zero."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        for parameter in self[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, z: Tensor) -> Tensor:
        """(N, D) -> (N, D)."""
        step = z
        for layer in self:
            step = layer(step)
        return z + step
