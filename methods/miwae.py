"""MIWAE (Mattei and Frellsen, ICML 2019): an importance-weighted autoencoder of incomplete images.

A decoder p(x | z) and an encoder q(z | x_o), which sees the observed values and 0 for the others, maximise

    L_K = E[log (1/K) sum_k w_k],   w_k = p(x_o | z_k) p(z_k) / q(z_k | x_o),   z_k ~ q(z | x_o),

a lower bound of log p(x_o) (Eq. 4). A missing value is imputed by its posterior mean, estimated by
self-normalised importance sampling (Eq. 10): sum_l w_l E[x_m | z_l] / sum_l w_l.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.batchwise import Batchwise
from bench.methods.nn.mlp import mlp
from bench.methods.noise import normal_noise_for
from bench.methods.optimisation import adam, descend, products_in, seeded
from bench.methods.settings import Count, Positive
from bench.methods.training import Parts, Training

IMPUTE_VALUES = 2**24
"""How many decoded values are held at once while imputing: 64 MiB of them."""


class Autoencoder(nn.Module):
    """q(z | x_o) and p(x | z), both Gaussian with independent components.

    Args:
        values: D, values of an image.
        latent, hidden: lengths of z and of the hidden layers.
        floor: the least standard deviation of p(x | z).
    """

    def __init__(self, values: int, latent: int, hidden: int, floor: float) -> None:
        super().__init__()
        self.encoder = mlp([values, hidden, hidden, 2 * latent])
        self.decoder = mlp([latent, hidden, hidden, values])
        # A value's spread is its own, not its code's: one that follows the code can shrink onto a few
        # images and swamp the bound.
        self.spread = nn.Parameter(torch.full((values,), -2.0))
        self.floor = floor

    def forward(self, values: Tensor, observed: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Sample codes and weigh them.

        Args:
            values: (N, D), 0 where missing; observed: (N, D), 1 where seen.
            noise: (K, N, latent), standard normal.

        Returns:
            log w, (K, N); E[x | z], (K, N, D) in (0, 1). Both float32.
        """
        mean, raw = self.encoder(values).float().chunk(2, 1)
        deviation = functional.softplus(raw) + 1e-3
        codes = mean + deviation * noise
        means = torch.sigmoid(self.decoder(codes).float())
        # What q and p(z) share, the constant of the normal density, cancels.
        prior = -0.5 * codes.square().sum(2)
        proposal = -(0.5 * noise.square() + deviation.log()).sum(2)
        spread = functional.softplus(self.spread) + self.floor
        errors = ((values - means) / spread).square() + 2 * spread.log() + math.log(2 * math.pi)
        likelihood = -0.5 * (errors * observed).sum(2)
        return likelihood + prior - proposal, means


def bound(log_weights: Tensor) -> Tensor:
    """log (1/K) sum_k w_k, whose mean is L_K, Eq. 4: (K, N) -> (N,)."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def posterior_mean(log_weights: Tensor, means: Tensor) -> Tensor:
    """sum_l w_l E[x | z_l] / sum_l w_l, Eq. 10: (L, N) and (L, N, D) -> (N, D)."""
    return torch.einsum("ln,lnd->nd", log_weights.softmax(0), means)


def flattened(images: MaskedImages) -> tuple[Tensor, Tensor]:
    """values and observed, both (N, D) float32."""
    observed = images.observed.expand(images.pixels.shape).flatten(1).float()
    return images.values.flatten(1), observed


@dataclass
class MIWAE(Batchwise):
    """Importance-weighted autoencoder of the observed pixels, imputing by importance sampling.

    Settings:
        latent: length of the code z.
        hidden: width of the two hidden layers of encoder and decoder.
        samples: K, codes an image in training.
        impute_samples: L, codes an image in imputing.
        floor: the least standard deviation of a value given its code, in [0, 1] units.
        epochs, batch_size, learning_rate: the schedule, with Adam.
    """

    latent: Count = 32
    hidden: Count = 512
    samples: Count = 20
    impute_samples: Count = 1000
    floor: Positive = 0.05
    epochs: Count = 300
    batch_size: Count = 64
    learning_rate: Positive = 1e-3

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        self.context = context
        train = train.to(context.device)
        values = train.pixels[0].numel()
        self.impute_batch = max(1, IMPUTE_VALUES // (values * self.impute_samples))
        with seeded(context, "model"):
            self.model = Autoencoder(values, self.latent, self.hidden, self.floor)
        self.model.to(context.device)
        optimiser = adam(self.model.parameters(), self.learning_rate)
        draws = context.generator("codes")
        parts: Parts = {"model": self.model, "adam": optimiser, "codes": draws}
        training = Training(context, parts, len(train), self.batch_size, self.epochs)
        for indices in training:
            x, observed = flattened(train[indices])
            shape = (self.samples, len(x), self.latent)
            noise = torch.randn(shape, generator=draws, device=context.device)
            with products_in(context):
                log_weights, _ = self.model(x, observed, noise)
            loss = -bound(log_weights).mean()
            descend(optimiser, loss)
            training.record({"-bound": loss.detach()})

    def fill(self, batch: MaskedImages) -> Tensor:
        noise = normal_noise_for(batch, self.context.seed, (self.impute_samples, self.latent))
        log_weights, means = self.model(*flattened(batch), noise.transpose(0, 1))
        return posterior_mean(log_weights, means).clamp(0, 1)

    display_name = "MIWAE"
    baseline = True
    presets = {
        "smoke": {"hidden": 128, "samples": 5, "impute_samples": 20, "epochs": 10},
        "quick": {"hidden": 256, "samples": 5, "impute_samples": 100, "epochs": 30},
        "standard": {"hidden": 256, "samples": 5, "impute_samples": 100, "epochs": 20},
    }
    citation = """@inproceedings{mattei2019miwae,
  title = {{MIWAE}: Deep Generative Modelling and Imputation of Incomplete Data Sets},
  author = {Mattei, Pierre-Alexandre and Frellsen, Jes},
  booktitle = {International Conference on Machine Learning},
  year = {2019}
}"""
