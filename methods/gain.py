"""GAIN (Yoon, Jordon and van der Schaar, ICML 2018): a generator fills in, a discriminator guesses where.

The generator G sees the image with faint noise in place of its missing values, and the mask m; the
discriminator D sees the recovered image x_hat = m * x + (1 - m) * G and a hint, which gives the mask away
except at some pixels (b = 0), and guesses the mask there:

    L_D = -mean over b = 0 of  m log D + (1 - m) log(1 - D)                       (Eq. 6),
    L_G = -mean over b = 0, m = 0 of  log D  +  alpha * mean over m = 1 of (x - G)^2   (Eq. 7).

Here means stand where the paper has sums, as in the authors' code, so that alpha does not depend on the
image's size. One mask serves all channels, so D guesses once a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.methods.nn.realnvp import mlp
from bench.methods.nn.wgan import descend
from bench.methods.noise import noise_for
from bench.methods.training import Stateful, adam, impute_in_batches, products_in, seeded, train

IMPUTE_BATCH = 1000
NOISE = 0.01
UNKNOWN = 0.5


@dataclass
class GAIN(Imputer):
    """Generative adversarial imputation: a discriminator with hints guesses which pixels were filled in.

    Settings:
        hint_rate: the share of pixels whose mask the hint gives away.
        alpha: weight of the reconstruction of observed values.
        hidden: width of both networks' two hidden layers; 0 means as wide as the image has values.
        epochs, batch_size, learning_rate: the schedule, with Adam; each batch updates D, then G. Some 10,000
            batches of MNIST, as the authors' code has it. G sees the values that it reconstructs, so trained
            on it learns to copy them: 0.206 after 10 epochs of 10,000 digits at 0.8, 0.237 after 30.
    """

    hint_rate: float = 0.9
    alpha: float = 100.0
    hidden: int = 0
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3

    display_name: ClassVar[str] = "GAIN"
    citation: ClassVar[str] = """@inproceedings{yoon2018gain,
  title = {{GAIN}: Missing Data Imputation using Generative Adversarial Nets},
  author = {Yoon, Jinsung and Jordon, James and van der Schaar, Mihaela},
  booktitle = {International Conference on Machine Learning},
  year = {2018}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"hidden": 128, "epochs": 10},
        "quick": {"hidden": 256, "epochs": 10},
        "standard": {"hidden": 256, "epochs": 2},
    }
    for_dataset: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar10": {"hidden": 1024},
        "celeba": {"hidden": 1024},
    }
    baseline: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.hint_rate < 1:
            raise ValueError(f"hint_rate must lie in [0, 1), not {self.hint_rate:g}")

    def fit(self, train_images: MaskedImages, context: FitContext) -> None:
        self._context = context
        self._train = train_images.to(context.device)
        self._build(train_images.shape)
        self._noise = context.generator("noise")
        parts: dict[str, Stateful | torch.Generator] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_adam": self._generator_adam,
            "discriminator_adam": self._discriminator_adam,
            "noise": self._noise,
        }
        train(
            context,
            parts,
            self._step,
            count=len(train_images),
            batch_size=self.batch_size,
            epochs=self.epochs,
        )
        del self._train

    @torch.no_grad()
    def impute(self, images: MaskedImages) -> Tensor:
        def fill(batch: MaskedImages) -> Tensor:
            return self.generate(batch, NOISE * noise_for(batch, self._context.seed, batch.shape))

        return impute_in_batches(images, IMPUTE_BATCH, self._context.device, fill)

    def generate(self, images: MaskedImages, noise: Tensor) -> Tensor:
        """G: (N, C, H, W) in (0, 1). noise: of the same shape, taken where pixels are missing."""
        filled = images.paste(noise).flatten(1)
        seen = torch.cat([filled, images.observed.flatten(1).float()], 1)
        return torch.sigmoid(self.generator(seen).float()).view(images.pixels.shape)

    def guess(self, recovered: Tensor, hint: Tensor) -> Tensor:
        """D: the log-odds that a pixel is observed, (N, H * W).

        Args:
            recovered: (N, C, H, W); hint: (N, H * W), 1 observed, 0 missing, 0.5 not told.
        """
        guesses: Tensor = self.discriminator(torch.cat([recovered.flatten(1), hint], 1))
        return guesses.float()

    def _build(self, shape: tuple[int, int, int]) -> None:
        channels, height, width = shape
        pixels = height * width
        values = channels * pixels
        hidden = self.hidden or values
        with seeded(self._context, "networks"):
            self.generator = mlp([values + pixels, hidden, hidden, values]).to(self._context.device)
            self.discriminator = mlp([values + pixels, hidden, hidden, pixels]).to(self._context.device)
        self._generator_adam = adam(self.generator.parameters(), self.learning_rate)
        self._discriminator_adam = adam(self.discriminator.parameters(), self.learning_rate)

    def _step(self, indices: Tensor, number: int) -> dict[str, Tensor]:
        batch = self._train[indices]
        observed = batch.observed.flatten(1)
        noise = NOISE * self._uniform(batch.pixels.shape)
        told = self._uniform(observed.shape) < self.hint_rate
        hint = torch.where(told, observed.float(), UNKNOWN)
        with products_in(self._context.precision, self._context.device):
            generated = self.generate(batch, noise)
            recovered = batch.paste(generated)
            guesses = self.guess(recovered.detach(), hint)
            discriminator_loss = guessing_loss(guesses, observed, told)
            descend(self._discriminator_adam, discriminator_loss)
            fooling = fooling_loss(self.guess(recovered, hint), observed, told)
            reconstruction = reconstruction_loss(generated, batch)
            descend(self._generator_adam, fooling + self.alpha * reconstruction)
        return {
            "L_D": discriminator_loss.detach(),
            "L_G": fooling.detach(),
            "L_M": reconstruction.detach(),
        }

    def _uniform(self, shape: torch.Size) -> Tensor:
        return torch.rand(shape, generator=self._noise, device=self._context.device)


def guessing_loss(guesses: Tensor, observed: Tensor, told: Tensor) -> Tensor:
    """L_D: cross-entropy of the mask where the hint does not tell it.

    Args:
        guesses: (N, P), log-odds of being observed; observed, told: (N, P), bool.
    """
    errors = functional.binary_cross_entropy_with_logits(guesses, observed.float(), reduction="none")
    return mean_where(errors, ~told)


def fooling_loss(guesses: Tensor, observed: Tensor, told: Tensor) -> Tensor:
    """L_G's first term: -log D at the missing pixels that the hint does not tell."""
    return mean_where(functional.softplus(-guesses), ~told & ~observed)


def reconstruction_loss(generated: Tensor, images: MaskedImages) -> Tensor:
    """L_M: mean squared error of the generated image at its observed values."""
    errors = (generated - images.values).square()
    return mean_where(errors, images.observed.expand(errors.shape))


def mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the chosen elements; 0 where none is chosen."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
