"""MADE and the inverse autoregressive flow built on it: PBiGAN's flexible codes.

Germain et al., "MADE: masked autoencoder for distribution estimation", ICML 2015; Kingma et al.,
"Improving variational inference with inverse autoregressive flow", NeurIPS 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PartlyConnected(nn.Linear):
    """A linear layer with some connections cut for good.

    A cut weight starts at 0 and its gradient is 0, so an optimiser without weight decay leaves it there
    and the product needs no mask.

    Args:
        connected: (out, in), bool.
    """

    def __init__(self, connected: Tensor) -> None:
        super().__init__(connected.shape[1], connected.shape[0])
        self.connected: Tensor
        self.register_buffer("connected", connected, persistent=False)
        with torch.no_grad():
            self.weight.mul_(connected)
        self.weight.register_hook(lambda gradient: gradient * self.connected)  # type: ignore[no-untyped-call]


class MADE(nn.Module):
    """Two outputs for each input, each a function of the inputs before it and of the context.

    Two hidden layers, ReLU. A hidden unit's degree is the number of inputs it may see (MADE, Eqs. 12 and
    13); degrees go round from 1 to D - 1. The context is added, unrestricted, to the first hidden layer.

    Args:
        dimension: D, at least 2.
        hidden: width of the hidden layers.
        context: width of the context.
    """

    def __init__(self, dimension: int, hidden: int, context: int) -> None:
        super().__init__()
        inputs = torch.arange(1, dimension + 1)
        degrees = torch.arange(hidden) % (dimension - 1) + 1
        self.from_context = nn.Linear(context, hidden, bias=False)
        self.first = PartlyConnected(degrees[:, None] >= inputs)
        self.second = PartlyConnected(degrees[:, None] >= degrees)
        self.last = PartlyConnected(inputs.repeat(2)[:, None] > degrees)

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) and (N, context) -> two of (N, D)."""
        hidden = functional.relu(self.first(z) + self.from_context(context))
        first, second = self.last(functional.relu(self.second(hidden))).chunk(2, 1)
        return first, second


class InverseAutoregressiveFlow(nn.Module):
    """One flow step in the gated form: z' = s * z + (1 - s) * m (Kingma et al., Eqs. 11 to 14).

    m and s = sigmoid(MADE's second output + bias) come from MADE. The bias starts at 2, so that a new step
    changes little.
    """

    def __init__(self, dimension: int, hidden: int, context: int) -> None:
        super().__init__()
        self.made = MADE(dimension, hidden, context)
        self.bias = nn.Parameter(torch.full((dimension,), 2.0))

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        """(N, D) and (N, context) -> (N, D)."""
        shift, gate = self.made(z, context)
        keep = torch.sigmoid(gate + self.bias)
        bent: Tensor = keep * z + (1 - keep) * shift
        return bent
