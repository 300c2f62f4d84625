"""RealNVP on flattened images: the flow G of MCFlow and PRFlow.

z = G(x) is a bijection on R^D built from affine couplings. A coupling leaves one half of its input as
it is, and scales and shifts the other half by functions of the first:

    z_keep = x_keep,   z_change = x_change * exp(s(x_keep)) + t(x_keep),   log |det| = sum of s.

Couplings come in pairs: one keeps a random half, the next keeps its complement (Dinh et al., 2017,
"Density estimation using Real NVP", Section 3.4).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.methods.nn.mlp import LEAK

PAIRS = 3


class ScaleAndTranslate(nn.Module):
    """The two MLPs s and t of a coupling, evaluated side by side as batched products.

    Each is Linear(kept, hidden), Linear(hidden, hidden) twice, Linear(hidden, changed), LeakyReLU(0.01)
    between; s ends in tanh. Only the kept half enters and only the changed half leaves: the products
    with zeros of a masked full-width MLP are never computed.

    Args:
        kept: width of the half that enters.
        changed: width of the half that leaves.
        hidden: width of the hidden layers.
    """

    def __init__(self, kept: int, changed: int, hidden: int) -> None:
        super().__init__()
        widths = [kept, hidden, hidden, hidden, changed]
        # A masked full-width layer draws its weights by the full width, so ours does too.
        fans = [kept + changed, hidden, hidden, hidden]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan, width_in, width_out in zip(fans, widths, widths[1:], strict=False):
            bound = 1 / math.sqrt(fan)
            self.weights.append(torch.empty(2, width_in, width_out).uniform_(-bound, bound))
            self.biases.append(torch.empty(2, 1, width_out).uniform_(-bound, bound))

    def forward(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """(N, kept) -> s in (-1, 1) and t, both (N, changed), float32 or float64 as the weights are."""
        hidden = kept.expand(2, *kept.shape)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer:
                hidden = functional.leaky_relu(hidden, LEAK)
            hidden = torch.baddbmm(bias, hidden, weight)
        scale, translate = hidden.to(self.weights[0].dtype).unbind()
        return torch.tanh(scale), translate


class CouplingPair(nn.Module):
    """A coupling that keeps the first half of its input, then one that keeps the second."""

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.first = dimension // 2
        second = dimension - self.first
        self.keep_first = ScaleAndTranslate(self.first, second, hidden)
        self.keep_second = ScaleAndTranslate(second, self.first, hidden)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) -> z (N, D) and log |det dz/dx| (N,)."""
        first, second = x[:, : self.first], x[:, self.first :]
        scale, translate = self.keep_first(first)
        second = torch.addcmul(translate, second, scale.exp())
        log_det = scale.sum(1)
        scale, translate = self.keep_second(second)
        first = torch.addcmul(translate, first, scale.exp())
        return torch.cat([first, second], 1), log_det + scale.sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) -> x (N, D) and log |det dz/dx| at that x (N,)."""
        first, second = z[:, : self.first], z[:, self.first :]
        scale, translate = self.keep_second(second)
        first = (first - translate) * (-scale).exp()
        log_det = scale.sum(1)
        scale, translate = self.keep_first(first)
        second = (second - translate) * (-scale).exp()
        return torch.cat([first, second], 1), log_det + scale.sum(1)


class RealNVP(nn.Module):
    """Six affine couplings in three pairs, each pair with a random half of its own.

    Args:
        dimension: D, the number of values of an image.
        hidden: width of the couplings' hidden layers.
    """

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.pairs = nn.ModuleList(CouplingPair(dimension, hidden) for _ in range(PAIRS))
        # A pair works on its own shuffle of the values, whose first half is contiguous. What is kept
        # is the step from one pair's shuffle to the next one's, and back to the image at the end.
        shuffles = [torch.arange(dimension), *(torch.randperm(dimension) for _ in range(PAIRS))]
        shuffles.append(shuffles[0])
        steps = [before.argsort()[after] for before, after in pairwise(shuffles)]
        self.steps: Tensor
        self.register_buffer("steps", torch.stack(steps))
        self.register_buffer("steps_back", torch.stack([step.argsort() for step in steps]))
        self.steps_back: Tensor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = G(x): (N, D) -> z (N, D) and log |det dz/dx| (N,)."""
        log_det = x.new_zeros(len(x))
        for step, pair in zip(self.steps, self.pairs, strict=False):
            x, change = pair(x[:, step])
            log_det = log_det + change
        return x[:, self.steps[-1]], log_det

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """x = G^-1(z): (N, D) -> x (N, D) and log |det dz/dx| at that x (N,).

        G(x) is z again, so log p(x) = log N(z) + this log-determinant: no pass up is needed for it.
        """
        z = z[:, self.steps_back[-1]]
        log_det = z.new_zeros(len(z))
        for step, pair in zip(self.steps_back[:-1].flip(0), reversed(list(self.pairs)), strict=True):
            assert isinstance(pair, CouplingPair)
            z, change = pair.inverse(z)
            z = z[:, step]
            log_det = log_det + change
        return z, log_det


def log_normal(z: Tensor) -> Tensor:
    """Log density of the standard normal, log N(z; 0, I): (N, D) -> (N,)."""
    return -0.5 * (z.square().sum(1) + z.shape[1] * math.log(2 * math.pi))
