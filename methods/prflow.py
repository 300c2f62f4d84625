"""PRFlow (Bernal, 2021, "Training Deep Normalizing Flow Models in Highly Incomplete Data Scenarios with
Prior Regularization"): MCFlow with a prior on the gradients of the images that it recovers.

Natural images have sparse gradients: mostly flat, with a few steep edges. A hyper-Laplacian prior says
so, log p_p(x) = -sum_j sum |x * f_j|^alpha with first differences f_j along rows and columns, and H
minimises J1 + J2 + lambda * J3, J3 = -log p_p(x_hat) (Eqs. 5 and 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Gt, Le
from torch import Tensor, nn

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.mcflow import MCFlow
from bench.methods.settings import Count, Positive, Weight, on_photos
from bench.methods.training import Epoch, StopWhenFlat

BALANCE_MEMORY = 0.99


def gradient_prior(images: Tensor, alpha: float, smoothing: float) -> Tensor:
    """The energy of the hyper-Laplacian prior, -log p_p up to a constant, smoothed at zero.

    |d|^alpha has no gradient at d = 0, so it becomes (d^2 + e^2)^(alpha/2) - e^alpha: 0 at 0, smooth
    there, and |d|^alpha less a constant for differences well above e.

    Args:
        images: (N, C, H, W).
        alpha: the exponent.
        smoothing: e.

    Returns:
        (N,): summed over both directions and all differences of an image.
    """
    total = images.new_zeros(len(images))
    for difference in (images.diff(dim=2), images.diff(dim=3)):
        energy = (difference.square() + smoothing**2).pow(alpha / 2) - smoothing**alpha
        total = total + energy.flatten(1).sum(1)
    return total


class Balance(nn.Module):
    """The paper's rule of thumb: lambda such that lambda * J3 is about as large as J1.

    J1 is a negative log density and may be negative, so magnitudes are what we balance:
    lambda = mean |J1| / mean J3, over a running mean of about the last 100 steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.magnitudes: Tensor
        self.register_buffer("magnitudes", torch.zeros(2))

    def forward(self, likelihood: Tensor, prior: Tensor) -> Tensor:
        """Take in this step's J1 and J3, scalars, and give lambda, a scalar."""
        now = torch.stack([likelihood.abs(), prior]).float()
        first = (self.magnitudes == 0).all()
        mean = torch.where(first, now, torch.lerp(now, self.magnitudes, BALANCE_MEMORY))
        self.magnitudes.copy_(mean)
        return mean[0] / mean[1].clamp_min(1e-6)


@dataclass
class PRFlow(MCFlow):
    """Prior-regularised flow: MCFlow with a hyper-Laplacian prior on image gradients.

    Settings, beside MCFlow's:
        alpha: the prior's exponent, 0 < alpha <= 1.
        prior_weight: the paper's lambda. 0 means balanced: see `Balance`.
        smoothing: below this difference between neighbours, in [0, 1] units, the prior is a parabola.
        imputer_width: width of H's three hidden layers.
        patience, tolerance: training stops when J2's best over the last `patience` epochs is less than
            `tolerance` (a fraction) better than its best before them, since the last refresh.
    """

    alpha: Annotated[float, Gt(0), Le(1)] = 1 / 3
    prior_weight: Weight = 0.0
    smoothing: Positive = 1 / 255
    imputer_width: Count = 784
    patience: Count = 10
    tolerance: Weight = 0.01

    def _begin(self, train: MaskedImages, context: FitContext) -> dict[str, Any]:
        parts = super()._begin(train, context)
        self._balance = Balance().to(context.device)
        self._stop = StopWhenFlat(self.patience, self.tolerance)
        return parts | {"balance": self._balance, "stop": self._stop}

    def _widths(self, D: int) -> list[int]:
        """H: three hidden layers (Section 4, "Experimental Setup")."""
        return [D, *[self.imputer_width] * 3, D]

    def _prior(self, J1: Tensor, x_hat: Tensor) -> dict[str, Tensor]:
        """lambda * J3, Eq. 9, J3 as a mean over the batch."""
        J3 = gradient_prior(x_hat.view(-1, *self._train.shape), self.alpha, self.smoothing).mean()
        weight = self.prior_weight or self._balance(J1.detach(), J3.detach())
        return {"lambda J3": weight * J3}

    def _is_done(self, epoch: Epoch) -> bool:
        return self._stop(epoch.losses["J2"])

    def _refresh(self) -> None:
        super()._refresh()
        # J2 starts higher with the new G than it ended with the old one, so the two are not compared.
        self._stop.losses.clear()

    display_name = "PRFlow"
    # Measured: the quick schedule ends with a lower error at lambda = 0.3 than with the balance.
    presets = {
        **MCFlow.presets,
        "quick": {**MCFlow.presets["quick"], "prior_weight": 0.3},
        "standard": {**MCFlow.presets["standard"], "prior_weight": 0.3},
    }
    for_dataset = on_photos({"hidden": 1024, "imputer_width": 1024})
    citation = """@inproceedings{bernal2021prflow,
  title = {Training Deep Normalizing Flow Models in Highly Incomplete Data Scenarios
           with Prior Regularization},
  author = {Bernal, Edgar A.},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops},
  year = {2021}
}"""
