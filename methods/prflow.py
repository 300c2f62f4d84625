"""PRFlow (Bernal, 2021, "Training Deep Normalizing Flow Models in Highly Incomplete Data Scenarios with
Prior Regularization"): MCFlow with a prior on the gradients of the images that it recovers.

Natural images have sparse gradients: mostly flat, with a few steep edges. A hyper-Laplacian prior says
so, log p_p(x) = -sum_j sum |x * f_j|^alpha with first differences f_j along rows and columns, and H
minimises J1 + J2 + lambda * J3, J3 = -log p_p(x_hat) (Eqs. 5 and 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.mcflow import MCFlow
from bench.methods.training import StopWhenFlat

BALANCE_MEMORY = 0.99


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

    alpha: float = 1 / 3
    prior_weight: float = 0.0
    smoothing: float = 1 / 255
    imputer_width: int = 784
    patience: int = 10
    tolerance: float = 0.01

    display_name: ClassVar[str] = "PRFlow"
    citation: ClassVar[str] = """@inproceedings{bernal2021prflow,
  title = {Training Deep Normalizing Flow Models in Highly Incomplete Data Scenarios
           with Prior Regularization},
  author = {Bernal, Edgar A.},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops},
  year = {2021}
}"""
    # Measured: at lambda = 0.3 the quick schedule gets further than balanced.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **MCFlow.presets,
        "quick": {**MCFlow.presets["quick"], "prior_weight": 0.3},
        "standard": {**MCFlow.presets["standard"], "prior_weight": 0.3},
    }
    for_dataset: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar10": {"hidden": 1024, "imputer_width": 1024},
        "celeba": {"hidden": 1024, "imputer_width": 1024},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha must lie in (0, 1], not {self.alpha}")
        if self.smoothing <= 0:
            raise ValueError(f"smoothing must be above 0, not {self.smoothing}")

    def new_imputer(self) -> nn.Module:
        """H: three hidden layers (Section 4, "Experimental Setup")."""
        return self._latent_mlp([self._dimension, *[self.imputer_width] * 3, self._dimension])

    def imputer_losses(
        self, x: Tensor, observed: Tensor, z_hat: Tensor, x_hat: Tensor, log_det: Tensor
    ) -> dict[str, Tensor]:
        """MCFlow's J1 and J2, and lambda * J3, Eq. 9, as a mean over the batch."""
        terms = super().imputer_losses(x, observed, z_hat, x_hat, log_det)
        images = x_hat.view(-1, *self._train.shape)
        prior = gradient_prior(images, self.alpha, self.smoothing).mean()
        weight = self.prior_weight or self._balance(terms["J1"].detach(), prior.detach())
        return {**terms, "lambda J3": weight * prior}

    def _prepare(self, images: MaskedImages, context: FitContext) -> None:
        super()._prepare(images, context)
        self._balance = Balance().to(context.device)
        self._stop = StopWhenFlat(self.patience, self.tolerance)
        self._parts |= {"balance": self._balance, "stop": self._stop}

    def _after_epoch(self, epochs: int, means: Mapping[str, float]) -> bool:
        if self._stop(means["J2"]):
            return True
        stages = len(self._stages.models)
        super()._after_epoch(epochs, means)
        if len(self._stages.models) > stages:
            # J2 of the new G starts higher than the old one's ended, so the two are not compared.
            self._stop.losses.clear()
        return False


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
