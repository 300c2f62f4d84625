"""PRFlow with J2 as Eq. 8 prints it: each image's mean squared error over its observed pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.methods.prflow import PRFlow


@dataclass
class EquationEight(PRFlow):
    """J1, J2 and J3 share one reduction, a mean over the batch, and J2 is a mean over observed pixels too."""

    display_name: ClassVar[str] = "PRFlow, J2 as in Eq. 8"

    def imputer_losses(
        self, x: Tensor, observed: Tensor, z_hat: Tensor, x_hat: Tensor, log_det: Tensor
    ) -> dict[str, Tensor]:
        terms = super().imputer_losses(x, observed, z_hat, x_hat, log_det)
        errors = ((x_hat - x).square() * observed).sum(1) / observed.sum(1).clamp_min(1)
        return {**terms, "J2": errors.mean()}
