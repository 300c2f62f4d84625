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

    def imputer_losses(
        self, x: Tensor, observed: Tensor, z_hat: Tensor, x_hat: Tensor, log_det: Tensor
    ) -> dict[str, Tensor]:
        terms = super().imputer_losses(x, observed, z_hat, x_hat, log_det)
        return {**terms, "J2": self.observed_weight * terms["J2"]}
