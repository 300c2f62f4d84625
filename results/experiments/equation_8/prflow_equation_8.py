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

    def _reconstruction(self, x_hat: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        return (((x_hat - x).square() * observed).sum(1) / observed.sum(1).clamp_min(1)).mean()
