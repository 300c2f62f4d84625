"""GAIN (Yoon, Jordon and van der Schaar, ICML 2018): a generator fills in, a discriminator guesses where.

The generator G sees the image with faint noise in place of its missing values, and the mask m; the
discriminator D sees the recovered image x_hat = m * x + (1 - m) * G and a hint, which gives the mask away
except at some pixels (b = 0), and guesses the mask there:

    L_D = -mean over b = 0 of  m log D + (1 - m) log(1 - D)                       (Eq. 6),
    L_G = -mean over b = 0, m = 0 of  log D  +  alpha * mean over m = 1 of (x - G)^2   (Eq. 7).

Here means take the place of the paper's sums, as in the authors' code, so that alpha does not depend on the
image's size. One mask serves all channels, so D guesses once a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn import functional

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.batchwise import Batchwise
from bench.methods.nn.mlp import mlp
from bench.methods.noise import noise_for
from bench.methods.optimisation import adam, descend, products_in, seeded
from bench.methods.settings import Count, CountOrZero, Positive, Weight, on_photos
from bench.methods.training import Training

NOISE = 0.01
UNKNOWN = 0.5


def guessing_loss(guesses: Tensor, observed: Tensor, told: Tensor) -> Tensor:
    """L_D, Eq. 6: cross-entropy of the mask where the hint does not tell it.

    Args:
        guesses: (N, P), log-odds of being observed; observed, told: (N, P), bool.
    """
    errors = functional.binary_cross_entropy_with_logits(guesses, observed.float(), reduction="none")
    return mean_where(errors, ~told)


def fooling_loss(guesses: Tensor, observed: Tensor, told: Tensor) -> Tensor:
    """L_G, the first term of Eq. 7: -log D at the missing pixels that the hint does not tell."""
    return mean_where(functional.softplus(-guesses), ~told & ~observed)


def reconstruction_loss(generated: Tensor, images: MaskedImages) -> Tensor:
    """L_M, the second term of Eq. 7: mean squared error of the generated image at its observed values."""
    errors = (generated - images.values).square()
    return mean_where(errors, images.observed.expand(errors.shape))


def mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the chosen elements; 0 if none is chosen."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def generate(G: nn.Module, images: MaskedImages, noise: Tensor) -> Tensor:
    """G's images: (N, C, H, W) in (0, 1). noise: of the same shape, taken where pixels are missing."""
    filled = images.paste(noise).flatten(1)
    seen = torch.cat([filled, images.observed.flatten(1).float()], 1)
    return torch.sigmoid(G(seen).float()).view(images.pixels.shape)


def guess(D: nn.Module, recovered: Tensor, hint: Tensor) -> Tensor:
    """D's log-odds that a pixel is observed, (N, H * W).

    Args:
        recovered: (N, C, H, W); hint: (N, H * W), 1 observed, 0 missing, 0.5 not told.
    """
    guesses: Tensor = D(torch.cat([recovered.flatten(1), hint], 1))
    return guesses.float()


@dataclass
class Game:
    """Both networks, each with its optimiser."""

    generator: nn.Module
    discriminator: nn.Module
    generator_adam: torch.optim.Optimizer
    discriminator_adam: torch.optim.Optimizer

    def update(self, batch: MaskedImages, noise: Tensor, told: Tensor, alpha: float) -> dict[str, Tensor]:
        """One step of D, then one of G; the losses before them.

        Args:
            noise: (N, C, H, W), for G.
            told: (N, H * W), bool: where the hint tells the mask.
            alpha: weight of L_M.
        """
        observed = batch.observed.flatten(1)
        hint = torch.where(told, observed.float(), UNKNOWN)
        generated = generate(self.generator, batch, noise)
        recovered = batch.paste(generated)
        L_D = guessing_loss(guess(self.discriminator, recovered.detach(), hint), observed, told)
        descend(self.discriminator_adam, L_D)
        L_G = fooling_loss(guess(self.discriminator, recovered, hint), observed, told)
        L_M = reconstruction_loss(generated, batch)
        descend(self.generator_adam, L_G + alpha * L_M)
        return {"L_D": L_D.detach(), "L_G": L_G.detach(), "L_M": L_M.detach()}


@dataclass
class GAIN(Batchwise):
    """Generative adversarial imputation: a discriminator with hints guesses which pixels were filled in.

    Settings:
        hint_rate: the share of pixels whose mask the hint gives away.
        alpha: weight of the reconstruction of observed values.
        hidden: width of both networks' two hidden layers; 0 means as wide as the image has values.
        epochs, batch_size, learning_rate: the schedule, with Adam; each batch updates D, then G. Some 10,000
            batches of MNIST, as the authors' code has it. G sees the values that it reconstructs, so trained
            on it learns to copy them: 0.206 after 10 epochs of 10,000 digits at 0.8, 0.237 after 30.
    """

    hint_rate: Annotated[float, Ge(0), Lt(1)] = 0.9
    alpha: Weight = 100.0
    hidden: CountOrZero = 0
    epochs: Count = 20
    batch_size: Count = 128
    learning_rate: Positive = 1e-3

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        self.context = context
        train = train.to(context.device)
        game = self.new_game(train.shape)
        self.generator = game.generator
        draws = context.generator("noise")
        parts = {**vars(game), "noise": draws}
        training = Training(context, parts, len(train), self.batch_size, self.epochs)
        for indices in training:
            batch = train[indices]
            noise = NOISE * torch.rand(batch.pixels.shape, generator=draws, device=context.device)
            told = torch.rand(batch.observed.flatten(1).shape, generator=draws, device=context.device)
            with products_in(context):
                training.record(game.update(batch, noise, told < self.hint_rate, self.alpha))

    def fill(self, batch: MaskedImages) -> Tensor:
        return generate(self.generator, batch, NOISE * noise_for(batch, self.context.seed, batch.shape))

    def new_game(self, shape: tuple[int, int, int]) -> Game:
        """The networks for images (C, H, W), with fresh weights."""
        channels, height, width = shape
        pixels = height * width
        values = channels * pixels
        hidden = self.hidden or values
        with seeded(self.context, "networks"):
            G = mlp([values + pixels, hidden, hidden, values]).to(self.context.device)
            D = mlp([values + pixels, hidden, hidden, pixels]).to(self.context.device)
        rate = self.learning_rate
        return Game(G, D, adam(G.parameters(), rate), adam(D.parameters(), rate))

    display_name = "GAIN"
    impute_batch = 1000
    baseline = True
    presets = {
        "smoke": {"hidden": 128, "epochs": 10},
        "quick": {"hidden": 256, "epochs": 10},
        "standard": {"hidden": 256, "epochs": 2},
    }
    for_dataset = on_photos({"hidden": 1024})
    citation = """@inproceedings{yoon2018gain,
  title = {{GAIN}: Missing Data Imputation using Generative Adversarial Nets},
  author = {Yoon, Jinsung and Jordon, James and van der Schaar, Mihaela},
  booktitle = {International Conference on Machine Learning},
  year = {2018}
}"""
