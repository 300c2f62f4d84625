"""PBiGAN (Li and Marlin, ICML 2020): a bidirectional GAN for incomplete images.

"Learning from irregularly-sampled time series: a missing data perspective", Section 4. A stochastic
encoder q gives the code of an incomplete image, a decoder g the image of a code. One critic sees pairs of
both kinds and the two networks try to make them alike:

    (m * x, q(m * x))    and    (m' * g(z), z),   z ~ N(0, I), m' the mask of another training image.

An image is imputed by g(q(m * x)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.methods.nn import convolutional
from bench.methods.nn.made import InverseAutoregressiveFlow
from bench.methods.nn.wgan import Inputs, descend, distance, fixed, raise_distance
from bench.methods.noise import normal_noise_for
from bench.methods.training import adam, impute_in_batches, products_in, seeded, train

BETAS = (0.5, 0.9)
LEARNING_RATE_STEPS = 10
WAITING_FRACTION = 100 / 2000
EMBEDDING = 64
IMPUTE_BATCH = 512


@dataclass
class PBiGAN(Imputer):
    """Encoder and decoder of incomplete images, trained against one critic of (image, code) pairs.

    Settings:
        reconstruction: "cross-entropy" or "smooth-l1", of the observed pixels through code and back.
        reconstruction_weight: its weight in the loss of encoder and decoder.
        rising_weight: whether that weight is 0 for the first twentieth of the epochs and then rises
            linearly to its full value at the last.
        own_batch: whether encoder and decoder are updated on a batch of their own after the critic's,
            rather than on the critic's last one.
        gradient_penalty: its weight in the critic's loss.
        critic_steps: critic updates to one update of encoder and decoder.
        latent: length of the codes.
        width: channels of the convolutions next to the image.
        epochs, batch_size: the schedule.
        learning_rate: of all networks.
        final_learning_rate: where that of encoder and decoder goes, in ten steps of equal ratio.
    """

    reconstruction: str = "cross-entropy"
    reconstruction_weight: float = 0.1
    rising_weight: bool = True
    own_batch: bool = False
    gradient_penalty: float = 10.0
    critic_steps: int = 5
    latent: int = 128
    width: int = 64
    epochs: int = 2000
    batch_size: int = 128
    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-4

    display_name: ClassVar[str] = "PBiGAN"
    citation: ClassVar[str] = """@inproceedings{li2020pbigan,
  title = {Learning from Irregularly-Sampled Time Series: A Missing Data Perspective},
  author = {Li, Steven Cheng-Xian and Marlin, Benjamin M.},
  booktitle = {International Conference on Machine Learning},
  year = {2020}
}"""
    _HASTE: ClassVar[Mapping[str, Any]] = {"learning_rate": 5e-4, "final_learning_rate": 5e-4}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"epochs": 1, "batch_size": 64, "width": 8, **_HASTE},
        "quick": {"epochs": 6, "batch_size": 32, "width": 8, **_HASTE},
        # At the published 0.002 so short a fit ends further from the truth than the untrained decoder's grey.
        "quick/cifar10": {"reconstruction_weight": 0.3},
        "quick/celeba": {"reconstruction_weight": 0.3},
        "standard": {"epochs": 200},
        "standard/cifar10": {"epochs": 50},
        "standard/celeba": {"epochs": 50},
        "paper/cifar10": {"epochs": 500},
        "paper/celeba": {"epochs": 500},
    }
    _PHOTOS: ClassVar[Mapping[str, Any]] = {
        "reconstruction": "smooth-l1",
        "reconstruction_weight": 0.002,
        "rising_weight": False,
        "own_batch": True,
        "batch_size": 256,
        "learning_rate": 2e-4,
        "final_learning_rate": 5e-5,
    }
    for_dataset: ClassVar[Mapping[str, Mapping[str, Any]]] = {"cifar10": _PHOTOS, "celeba": _PHOTOS}

    def __post_init__(self) -> None:
        if self.reconstruction not in ("cross-entropy", "smooth-l1"):
            raise ValueError(f"reconstruction is 'cross-entropy' or 'smooth-l1', not {self.reconstruction!r}")

    # Losses

    def reconstruction_loss(self, decoded: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        """How far decoded images are from the observed pixels: summed over them, averaged over the batch.

        Args:
            decoded: (N, C, H, W), before the sigmoid.
            x: (N, C, H, W), in [0, 1].
            observed: (N, 1, H, W), 1 where seen.
        """
        if self.reconstruction == "cross-entropy":
            errors = functional.binary_cross_entropy_with_logits(decoded, x, reduction="none")
        else:
            errors = functional.smooth_l1_loss(torch.sigmoid(decoded), x, reduction="none")
        return (errors * observed).sum() / len(x)

    def weight_in(self, epoch: int) -> float:
        """Weight of the reconstruction in an epoch, counted from 0."""
        if not self.rising_weight:
            return self.reconstruction_weight
        waiting = WAITING_FRACTION * self.epochs
        risen = max(epoch - waiting, 0) / max(self.epochs - 1 - waiting, 1)
        return self.reconstruction_weight * risen

    def learning_rate_in(self, epoch: int) -> float:
        """Learning rate of encoder and decoder in an epoch, counted from 0."""
        step = epoch * LEARNING_RATE_STEPS // self.epochs
        ratio = self.final_learning_rate / self.learning_rate
        return float(self.learning_rate * ratio ** (step / LEARNING_RATE_STEPS))

    # Fit and impute

    def fit(self, train_images: MaskedImages, context: FitContext) -> None:
        convolutional.check_batch(train_images.shape, min(self.batch_size, len(train_images)))
        self._context = context
        self._build(train_images.shape, context)
        self._noise = context.generator("noise")
        self._train = train_images.to(context.device)
        self._batches = len(train_images) // min(self.batch_size, len(train_images))
        train(
            context,
            {
                "encoder": self._encoder,
                "decoder": self._decoder,
                "critic": self._critic,
                "coders_adam": self._coders_adam,
                "critic_adam": self._critic_adam,
                "noise": self._noise,
            },
            self._step,
            count=len(train_images),
            batch_size=self.batch_size,
            epochs=self.epochs,
        )
        del self._train

    @torch.no_grad()
    def impute(self, images: MaskedImages) -> Tensor:
        context = self._context
        self._encoder.eval()
        self._decoder.eval()

        def fill(batch: MaskedImages) -> Tensor:
            noise = normal_noise_for(batch, context.seed, (self.latent,))
            with products_in(context.precision, context.device):
                decoded: Tensor = self._decoder(self._encoder(batch.values, noise)).float()
            return torch.sigmoid(decoded)

        imputed = impute_in_batches(images, IMPUTE_BATCH, context.device, fill)
        self._encoder.train()
        self._decoder.train()
        return imputed

    def _build(self, shape: tuple[int, int, int], context: FitContext) -> None:
        with seeded(context, "weights"):
            self._encoder = Encoder(shape, self.latent, self.width).to(context.device)
            self._decoder = convolutional.generator(self.latent, shape, self.width).to(context.device)
            self._critic = PairCritic(shape, self.latent, self.width).to(context.device)
        coders = chain(self._encoder.parameters(), self._decoder.parameters())
        self._coders_adam = adam(coders, self.learning_rate, BETAS)
        self._critic_adam = adam(self._critic.parameters(), self.learning_rate, BETAS)

    def _step(self, indices: Tensor, number: int) -> dict[str, Tensor]:
        batch = self._train[indices]
        epoch = number // self._batches
        turn = number % (self.critic_steps + self.own_batch)
        with products_in(self._context.precision, self._context.device):
            if turn == self.critic_steps:
                return {"distance": self._update_coders(batch, epoch)}
            with torch.no_grad():
                real, fake, code = self._pairs(batch)
                if not convolutional.is_digit(self._train.shape):
                    # The authors' code decodes both at each step, and what the decoder's normalisations
                    # remember of both is what an image is imputed with.
                    self._decoder(code)
            apart = raise_distance(
                self._critic,
                self._critic_adam,
                real,
                fake,
                penalty=self.gradient_penalty,
                generator=self._noise,
            )
            if turn == self.critic_steps - 1 and not self.own_batch:
                self._update_coders(batch, epoch)
        return {"distance": apart}

    def _pairs(self, batch: MaskedImages) -> tuple[Inputs, Inputs, Tensor]:
        """(m * x, q(m * x)) and (m' * g(z), z), and q(m * x) again."""
        noise = torch.randn(2, len(batch), self.latent, generator=self._noise, device=batch.device)
        others = torch.randint(len(self._train), (len(batch),), generator=self._noise, device=batch.device)
        values, z = batch.values, noise[1]
        code = self._encoder(values, noise[0]).float()
        generated = torch.sigmoid(self._decoder(z).float()) * self._train.observed[others]
        return (values, code), (generated, z), code

    def _update_coders(self, batch: MaskedImages, epoch: int) -> Tensor:
        """One update of encoder and decoder; returns the distance before it, without gradient."""
        for group in self._coders_adam.param_groups:
            group["lr"] = self.learning_rate_in(epoch)
        real, fake, code = self._pairs(batch)
        with fixed(self._critic):
            apart = distance(self._critic, real, fake)
            decoded = self._decoder(code).float()
            error = self.reconstruction_loss(decoded, batch.values, batch.observed)
            descend(self._coders_adam, apart + self.weight_in(epoch) * error)
        return apart.detach()


class Encoder(nn.Module):
    """q: an incomplete image to a random code, normal and then bent by two autoregressive flow steps."""

    def __init__(self, shape: tuple[int, int, int], latent: int, width: int) -> None:
        super().__init__()
        self.body, features = convolutional.body(shape, width)
        if not convolutional.is_digit(shape):
            self.body.append(nn.Linear(features, latent))
            features = latent
        self.head = nn.Sequential(
            nn.Linear(features, 3 * latent),
            nn.LayerNorm(3 * latent),
            nn.LeakyReLU(0.2),
            nn.Linear(3 * latent, 3 * latent),
        )
        self.flows = nn.ModuleList(InverseAutoregressiveFlow(latent, 2 * latent, latent) for _ in range(2))

    def forward(self, values: Tensor, noise: Tensor) -> Tensor:
        """(N, C, H, W), 0 where missing, and standard normal noise (N, latent) -> codes (N, latent)."""
        mean, spread, context = self.head(self.body(values)).float().chunk(3, 1)
        code: Tensor = mean + functional.softplus(spread) * noise
        for flow in self.flows:
            code = flow(code, context)
        return code.flip(1)


class PairCritic(nn.Module):
    """Scores of (image, code) pairs: each is embedded by itself, then both together."""

    def __init__(self, shape: tuple[int, int, int], latent: int, width: int) -> None:
        super().__init__()
        self.image, features = convolutional.body(shape, width)
        if not convolutional.is_digit(shape):
            self.image.append(nn.Linear(features, latent))
            features = latent
        self.image.append(nn.Linear(features, EMBEDDING))
        self.code = _embedding(latent, EMBEDDING)
        self.pair = _embedding(2 * EMBEDDING, 1)

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """(N, C, H, W) and (N, latent) -> (N,)."""
        scores: Tensor = self.pair(torch.cat([self.image(images), self.code(codes)], 1))
        return scores[:, 0]


def _embedding(width_in: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width_in, EMBEDDING),
        nn.LayerNorm(EMBEDDING),
        nn.LeakyReLU(0.2),
        nn.Linear(EMBEDDING, width_out),
    )
