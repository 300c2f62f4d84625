"""MCFlow with J2 weighed: what the balance between likely images and the observed pixels does."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bench.methods.mcflow import MCFlow


@dataclass
class MCFlowWeighed(MCFlow):
    """MCFlow, J2 times a weight.

    Settings, beside MCFlow's:
        observed_weight: what J2 is multiplied by; 4 is the balance of batches four times as large.
    """

    observed_weight: float = 1.0

    def _reconstruction(self, x_hat: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        return self.observed_weight * super()._reconstruction(x_hat, x, observed)
