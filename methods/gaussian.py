"""A Gaussian with low-rank-plus-diagonal covariance, learnt from the observed pixels by EM.

Factor analysis (Rubin and Thayer, "EM algorithms for ML factor analysis", Psychometrika 1982) of
incomplete images. An image's D values are

    x = mu + W z + e,   z ~ N(0, I_k),   e ~ N(0, diag(psi)),

so x ~ N(mu, W W^T + diag(psi)), and its observed values follow the same law cut down to them. A missing
value is imputed by its conditional mean mu_d + w_d^T E[z | x_o]. By the Woodbury identity every linear
system is of size k:

    M = I + W_o^T diag(psi_o)^-1 W_o,   E[z | x_o] = M^-1 W_o^T diag(psi_o)^-1 (x_o - mu_o),
    Cov[z | x_o] = M^-1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.batchwise import Batchwise
from bench.methods.mean import observed_mean
from bench.methods.settings import Count, Positive, Weight
from bench.methods.training import Training

BATCH = 500


class Factors:
    """The parameters mu, W and psi.

    Args:
        mean: (C, P), mu by channel and pixel.
        loadings: (C, P, k), W.
        variance: (C, P), psi.
        floor: the least value psi may take.

    Attributes:
        reached: the log-likelihood of an observed value at the last E step, in nats; float64.
    """

    def __init__(self, mean: Tensor, loadings: Tensor, variance: Tensor, floor: float) -> None:
        self.mean, self.loadings, self.variance, self.floor = mean, loadings, variance, floor
        self.reached = torch.tensor(-math.inf, dtype=torch.float64)

    @property
    def parameters(self) -> int:
        """How many numbers were learnt."""
        return self.mean.numel() + self.loadings.numel() + self.variance.numel()

    def in_double(self) -> Factors:
        """The same parameters in float64."""
        return Factors(self.mean.double(), self.loadings.double(), self.variance.double(), self.floor)

    def converged(self, log_likelihood: float, tolerance: float) -> bool:
        """Whether the log-likelihood of an observed value rose by less than the tolerance; it is noted."""
        rise = log_likelihood - float(self.reached)
        self.reached.fill_(log_likelihood)
        return rise < tolerance

    def state_dict(self) -> dict[str, Any]:
        names = ("mean", "loadings", "variance", "reached")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in self.state_dict().items():
            value.copy_(state[name])

    def posterior(self, images: MaskedImages) -> tuple[Tensor, Tensor, Tensor]:
        """What the observed values say of z.

        Returns:
            E[z | x_o], (N, k); Cov[z | x_o], (N, k, k); log p(x_o), (N,), in nats.
        """
        count, rank = len(images), self.loadings.shape[2]
        observed, centred = self._centred(images)
        weighted = self.loadings / self.variance[..., None]
        # One mask for all channels: their precisions can be added before the masks choose among pixels.
        precisions = torch.einsum("cpj,cpk->pjk", weighted, self.loadings).flatten(1)
        precision = (observed @ precisions).view(count, rank, rank)
        precision.diagonal(dim1=1, dim2=2).add_(1)
        double = precision.dtype == torch.float64
        lower, trouble = torch.linalg.cholesky_ex(precision, check_errors=double)
        if not double and trouble.any():
            # Many values of little variance: in single precision the identity drowns in the rounding.
            mean, covariance, log_likelihood = self.in_double().posterior(images)
            return mean.to(precision.dtype), covariance.to(precision.dtype), log_likelihood
        pull = centred.flatten(1) @ weighted.flatten(0, 1)
        mean = torch.cholesky_solve(pull[..., None], lower)[..., 0]
        # log det of the covariance and the quadratic form, both by Woodbury.
        log_det = observed @ self.variance.log().sum(0)
        log_det += 2 * lower.diagonal(dim1=1, dim2=2).log().sum(1)
        square = (centred.square() / self.variance).sum((1, 2)) - (pull * mean).sum(1)
        values = observed.sum(1) * self.mean.shape[0]
        log_likelihood = -0.5 * (values * math.log(2 * math.pi) + log_det + square)
        return mean, torch.cholesky_inverse(lower), log_likelihood

    def conditional_mean(self, images: MaskedImages) -> Tensor:
        """E[x | x_o] of every value as if it were missing: (N, C, P)."""
        z, _, _ = self.posterior(images)
        return self.mean + torch.einsum("nk,cpk->ncp", z, self.loadings)

    def empty_sums(self) -> Sums:
        """Sums over no image yet."""
        channels, pixels, rank = self.loadings.shape
        zeros = torch.zeros((), dtype=torch.float64, device=self.mean.device).new_zeros
        return Sums(
            pixel_counts=zeros(pixels),
            moments=zeros(pixels, (rank + 1) ** 2),
            products=zeros(channels * pixels, rank + 1),
            squares=zeros(channels, pixels),
            log_likelihood=zeros(()),
        )

    def maximise(self, sums: Sums) -> None:
        """The M step: each value's regression on (z, 1) over the images that show it.

        A value that no image shows keeps its parameters.
        """
        channels, pixels, rank = self.loadings.shape
        shown = sums.pixel_counts > 0
        moments = sums.moments[shown].view(-1, rank + 1, rank + 1)
        products = sums.products.view(channels, pixels, rank + 1)[:, shown]
        # (pixels, k + 1, channels): one system for a pixel's channels.
        solution = torch.linalg.solve(moments, products.permute(1, 2, 0)).permute(2, 0, 1)
        explained = (solution * products).sum(2)
        variance = (sums.squares[:, shown] - explained) / sums.pixel_counts[shown]
        self.loadings[:, shown] = solution[..., :rank].to(self.loadings.dtype)
        self.mean[:, shown] = solution[..., rank].to(self.mean.dtype)
        self.variance[:, shown] = variance.clamp(min=self.floor).to(self.variance.dtype)

    def _centred(self, images: MaskedImages) -> tuple[Tensor, Tensor]:
        """observed, (N, P), 1 where seen; x - mu, (N, C, P), 0 where missing."""
        observed = images.observed.flatten(1).to(self.mean.dtype)
        values = images.pixels.flatten(2).to(self.mean.dtype) / 255
        return observed, (values - self.mean) * observed[:, None]


@dataclass
class Sums:
    """What the M step needs of all images, float64.

    Attributes:
        pixel_counts: (P,), how many images show a pixel.
        moments: (P, (k + 1)^2), sum of E[(z, 1)(z, 1)^T] over those images.
        products: (C * P, k + 1), sum of x E[(z, 1)].
        squares: (C, P), sum of x^2.
        log_likelihood: of the observed values, under the parameters that gave the expectations.
        values: how many values are observed.
    """

    pixel_counts: Tensor
    moments: Tensor
    products: Tensor
    squares: Tensor
    log_likelihood: Tensor
    values: int = 0

    def add(self, factors: Factors, images: MaskedImages) -> None:
        """The E step for some images."""
        z, covariance, log_likelihood = factors.posterior(images)
        count, channels = len(images), images.shape[0]
        observed, _ = factors._centred(images)
        values = images.pixels.flatten(1).to(z.dtype) / 255
        augmented = torch.cat([z, z.new_ones(count, 1)], 1)
        moments = torch.einsum("nj,nk->njk", augmented, augmented)
        moments[:, :-1, :-1] += covariance
        self.pixel_counts += observed.sum(0)
        self.moments += observed.T @ moments.flatten(1)
        self.products += values.T @ augmented
        self.squares += values.square().sum(0).view_as(self.squares)
        self.log_likelihood += log_likelihood.sum()
        self.values += int(observed.sum()) * channels


def start(images: MaskedImages, rank: int, floor: float, context: FitContext) -> Factors:
    """mu and psi from each value's own mean and variance, small random loadings."""
    mean = observed_mean(images).flatten(1).to(context.device)
    squares = torch.zeros_like(mean)
    counts = torch.zeros_like(mean[:1])
    for batch in images.batches(BATCH):
        observed = batch.observed.flatten(2).to(context.device)
        values = batch.pixels.flatten(2).to(context.device) / 255
        squares += ((values - mean).square() * observed).sum(0)
        counts += observed.sum(0)
    variance = (squares / counts.clamp(min=1)).clamp(min=floor**2)
    noise = torch.randn(*mean.shape, rank, generator=context.generator("loadings", "cpu")).to(mean)
    loadings = 0.1 * variance.sqrt()[..., None] * noise
    return Factors(mean.float(), loadings.float(), variance.float(), floor**2)


@dataclass
class Gaussian(Batchwise):
    """Conditional mean of a Gaussian with low-rank-plus-diagonal covariance, learnt by EM.

    Settings:
        rank: k, the number of factors.
        iterations: of EM, at most.
        tolerance: EM stops when the log-likelihood of an observed value rises by less, in nats.
        floor: the least standard deviation of a value's own noise, in [0, 1] units.
    """

    rank: Count = 64
    iterations: Count = 200
    tolerance: Weight = 1e-4
    floor: Positive = 0.02

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        self.context = context
        self.factors = factors = start(train, self.rank, self.floor, context)
        training = Training(context, {"factors": factors}, count=1, batch_size=1, epochs=self.iterations)
        with training.epochs() as iterations:
            for iteration in iterations:
                for _ in iteration:
                    sums = factors.empty_sums()
                    for batch in train.batches(BATCH):
                        sums.add(factors, batch.to(context.device))
                    factors.maximise(sums)
                    mean = sums.log_likelihood / max(sums.values, 1)
                    training.record({"negative log-likelihood": -mean})
                if factors.converged(-iteration.losses["negative log-likelihood"], self.tolerance):
                    training.finish()
        context.facts["parameters"] = factors.parameters

    def fill(self, batch: MaskedImages) -> Tensor:
        # If the variances are small, results in single precision would depend on the size of the batch.
        return self.factors.in_double().conditional_mean(batch).clamp(0, 1).float()

    display_name = "Gaussian"
    impute_batch = BATCH
    baseline = True
    presets = {
        "smoke": {"rank": 16, "iterations": 15},
        "quick": {"rank": 32, "iterations": 40},
        "standard": {"rank": 32, "iterations": 40},
    }
    citation = """@article{rubin1982em,
  title = {{EM} Algorithms for {ML} Factor Analysis},
  author = {Rubin, Donald B. and Thayer, Dorothy T.},
  journal = {Psychometrika},
  year = {1982}
}"""
