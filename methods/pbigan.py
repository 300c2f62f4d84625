"""PBiGAN (Li and Marlin, ICML 2020): a bidirectional GAN for incomplete images.

"Learning from irregularly-sampled time series: a missing data perspective", Section 4. A stochastic
encoder q gives the code of an incomplete image, a decoder g the image of a code. One critic sees pairs of
both kinds and the two networks try to make them alike:

    (m * x, q(m * x))    and    (m' * g(z), z),   z ~ N(0, I), m' the mask of another training image.

An image is imputed by g(q(m * x)).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.batchwise import Batchwise
from bench.methods.nn.critics import PairCritic
from bench.methods.nn.encoder import Encoder
from bench.methods.nn.families import Shape, check_batch, is_digit
from bench.methods.nn.generators import generator
from bench.methods.nn.wgan import Inputs, distance, penalty_of_step, raise_distance
from bench.methods.noise import normal_noise_for
from bench.methods.optimisation import adam, descend, evaluating, fixed, products_in, seeded, set_rate
from bench.methods.settings import Count, Positive, Weight, on_photos
from bench.methods.training import Training

ErrorKind = Literal["cross-entropy", "smooth-l1"]
BETAS = (0.5, 0.9)
LEARNING_RATE_STEPS = 10
WAITING_FRACTION = 100 / 2000
HASTE = {"learning_rate": 5e-4, "final_learning_rate": 5e-4}
PHOTOS = {"reconstruction": "smooth-l1", "reconstruction_weight": 0.002, "rising_weight": False}
PHOTOS |= {"own_batch": True, "batch_size": 256, "learning_rate": 2e-4, "final_learning_rate": 5e-5}


def reconstruction_loss(kind: ErrorKind, decoded: Tensor, x: Tensor, observed: Tensor) -> Tensor:
    """How far decoded images are from the observed pixels: summed over them, averaged over the batch.

    decoded: before the sigmoid, and x: in [0, 1], both (N, C, H, W); observed: (N, 1, H, W), 1 where seen.
    """
    if kind == "cross-entropy":
        errors = functional.binary_cross_entropy_with_logits(decoded, x, reduction="none")
    else:
        errors = functional.smooth_l1_loss(torch.sigmoid(decoded), x, reduction="none")
    return (errors * observed).sum() / len(x)


def risen(epoch: int, epochs: int) -> float:
    """A rising weight's share in an epoch, counted from 0: 0 for a twentieth, then a straight line to 1."""
    waiting = WAITING_FRACTION * epochs
    return max(epoch - waiting, 0) / max(epochs - 1 - waiting, 1)


def learning_rate_in(epoch: int, epochs: int, first: float, final: float) -> float:
    """Learning rate in an epoch, counted from 0: ten steps of equal ratio towards the final one."""
    step = epoch * LEARNING_RATE_STEPS // epochs
    return float(first * (final / first) ** (step / LEARNING_RATE_STEPS))


@dataclass
class Game:
    """The three networks, their optimisers, and the generator of their noise."""

    encoder: Encoder
    decoder: nn.Module
    critic: nn.Module
    coders_adam: torch.optim.Optimizer
    critic_adam: torch.optim.Optimizer
    noise: torch.Generator

    def pairs(self, batch: MaskedImages, masks: Tensor) -> tuple[Inputs, Inputs]:
        """(m * x, q(m * x)) and (m' * g(z), z), m' taken from masks, (M, 1, H, W), bool."""
        values, latent = batch.values, self.encoder.latent
        noise, z = torch.randn(2, len(batch), latent, generator=self.noise, device=batch.device)
        others = torch.randint(len(masks), (len(batch),), generator=self.noise, device=batch.device)
        code = self.encoder(values, noise).float()
        generated = torch.sigmoid(self.decoder(z).float()) * masks[others]
        return (values, code), (generated, z)

    def update_critic(self, batch: MaskedImages, masks: Tensor, penalty: float | None) -> Tensor:
        """One step of the critic; the distance before it. `penalty` is as in `raise_distance`."""
        with torch.no_grad():
            real, fake = self.pairs(batch, masks)
            if not is_digit(batch.shape):
                # As in the authors' code: the decoder's normalisations remember codes as well as noise.
                self.decoder(real[1])
        return raise_distance(self.critic, self.critic_adam, real, fake, penalty, self.noise)

    def update_coders(self, batch: MaskedImages, masks: Tensor, kind: ErrorKind, weight: float) -> Tensor:
        """One step of encoder and decoder down distance + weight * reconstruction; the distance before it."""
        real, fake = self.pairs(batch, masks)
        with fixed(self.critic):
            apart = distance(self.critic, real, fake)
            decoded = self.decoder(real[1]).float()
            error = reconstruction_loss(kind, decoded, batch.values, batch.observed)
            descend(self.coders_adam, apart + weight * error)
        return apart.detach()


@dataclass
class PBiGAN(Batchwise):
    """Encoder and decoder of incomplete images, trained against one critic of (image, code) pairs.

    Settings:
        reconstruction: "cross-entropy" or "smooth-l1", of the observed pixels through code and back.
        reconstruction_weight: its weight in the loss of encoder and decoder.
        rising_weight: whether that weight rises: 0 for a twentieth of the epochs, then a straight line up.
        own_batch: whether encoder and decoder get a batch of their own; if not, the critic's last one.
        gradient_penalty: its weight in the critic's loss.
        penalty_every: in each so many critic updates one has the penalty, with so many times its weight.
        critic_steps: critic updates to one update of encoder and decoder.
        latent, width: length of the codes; channels of the convolutions next to the image.
        epochs, batch_size: the schedule.
        learning_rate, final_learning_rate: of all networks at first; of encoder and decoder in the end.
    """

    reconstruction: ErrorKind = "cross-entropy"
    reconstruction_weight: Weight = 0.1
    rising_weight: bool = True
    own_batch: bool = False
    gradient_penalty: Weight = 10.0
    penalty_every: Count = 1
    critic_steps: Count = 5
    latent: Annotated[int, Ge(2)] = 128
    width: Count = 64
    epochs: Count = 2000
    batch_size: Count = 128
    learning_rate: Positive = 1e-4
    final_learning_rate: Positive = 1e-4

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        check_batch(train.shape, min(self.batch_size, len(train)))
        self.context = context
        train = train.to(context.device)
        game = self.new_game(train.shape)
        self.encoder, self.decoder = game.encoder, game.decoder
        training = Training(context, vars(game), len(train), self.batch_size, self.epochs)
        for indices in training:
            batch, masks = train[indices], train.observed
            cycle, turn = divmod(training.step, self.critic_steps + self.own_batch)
            with products_in(context):
                if turn < self.critic_steps:
                    updates = cycle * self.critic_steps + turn
                    penalty = penalty_of_step(updates, self.gradient_penalty, self.penalty_every)
                    apart = game.update_critic(batch, masks, penalty)
                else:
                    apart = self._update_coders(game, batch, masks, training.epoch)
                if turn == self.critic_steps - 1 and not self.own_batch:
                    self._update_coders(game, batch, masks, training.epoch)
            training.record({"distance": apart})

    def fill(self, batch: MaskedImages) -> Tensor:
        noise = normal_noise_for(batch, self.context.seed, (self.latent,))
        with evaluating(self.encoder, self.decoder), products_in(self.context):
            decoded: Tensor = self.decoder(self.encoder(batch.values, noise)).float()
        return torch.sigmoid(decoded)

    def _update_coders(self, game: Game, batch: MaskedImages, masks: Tensor, epoch: int) -> Tensor:
        """One step of encoder and decoder, by the weight and the learning rate of the epoch."""
        schedule = (epoch, self.epochs, self.learning_rate, self.final_learning_rate)
        set_rate(game.coders_adam, learning_rate_in(*schedule))
        share = risen(epoch, self.epochs) if self.rising_weight else 1
        return game.update_coders(batch, masks, self.reconstruction, self.reconstruction_weight * share)

    def new_game(self, shape: Shape) -> Game:
        """The game for images (C, H, W) before its first step."""
        device = self.context.device
        with seeded(self.context, "weights"):
            encoder = Encoder(shape, self.latent, self.width).to(device)
            decoder = generator(self.latent, shape, self.width).to(device)
            critic = PairCritic(shape, self.latent, self.width).to(device)
        coders_adam = adam(chain(encoder.parameters(), decoder.parameters()), self.learning_rate, BETAS)
        critic_adam = adam(critic.parameters(), self.learning_rate, BETAS)
        return Game(encoder, decoder, critic, coders_adam, critic_adam, self.context.generator("noise"))

    display_name = "PBiGAN"
    impute_batch = 512
    presets = {
        "smoke": {"epochs": 1, "batch_size": 64, "width": 8, **HASTE},
        "quick": {"epochs": 6, "batch_size": 32, "width": 8, **HASTE},
        # At the published 0.002, so short a fit ends further from the truth than an untrained decoder's grey.
        **on_photos({"reconstruction_weight": 0.3}, "quick"),
        "standard": {"epochs": 200},
        **on_photos({"epochs": 50}, "standard"),
        **on_photos({"epochs": 500}, "paper"),
    }
    for_dataset = on_photos(PHOTOS)
    citation = """@inproceedings{li2020pbigan,
  title = {Learning from Irregularly-Sampled Time Series: A Missing Data Perspective},
  author = {Li, Steven Cheng-Xian and Marlin, Benjamin M.},
  booktitle = {International Conference on Machine Learning},
  year = {2020}
}"""
