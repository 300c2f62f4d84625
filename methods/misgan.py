"""MisGAN (Li, Jiang and Marlin, ICLR 2019): generators of images and of masks, learnt from incomplete images.

An incomplete image is x with its missing pixels set to tau: fill(x, m) = m * x + (1 - m) * tau, m = 1 where
observed. Three generators play against a critic each:

    a data generator Gx, whose images, seen through generated masks, must look like the incomplete ones;
    a missingness generator Gm, whose masks must look like the true ones;
    an imputer Gi, whose recovered images must look like Gx's complete ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.batchwise import Batchwise
from bench.methods.nn.averaged import Average, Share
from bench.methods.nn.families import Shape, check_batch
from bench.methods.nn.misgan import Architecture, networks
from bench.methods.nn.wgan import Critic, penalty_of_step, raise_distance
from bench.methods.noise import noise_for
from bench.methods.optimisation import adam, descend, evaluating, fixed, products_in, seeded
from bench.methods.settings import Count, Positive, Weight, on_photos
from bench.methods.training import Training

BETAS = (0.5, 0.9)
HASTE = {"learning_rate": 3e-4, "imputer_learning_rate": 6e-4}


def fill(x: Tensor, observed: Tensor, tau: float) -> Tensor:
    """m * x + (1 - m) * tau: x (N, C, H, W) and m (N, 1, H, W), both in [0, 1]."""
    return tau + observed * (x - tau)


def nearly_binary(values: Tensor) -> Tensor:
    """Gm's last layer: a sigmoid of temperature 0.66, stretched to (-0.1, 1.1) and cut to [0, 1]."""
    return functional.hardtanh(torch.sigmoid(values / 0.66) * 1.2 - 0.1, 0, 1)


def missingness_loss(mask: Critic, data: Critic, x: Tensor, m: Tensor, tau: float, alpha: float) -> Tensor:
    """L_mask + alpha * L_data of generated images x and masks m: what Gm descends."""
    return -mask(m).float().mean() - alpha * data(fill(x, m, tau)).float().mean()


def data_loss(data: Critic, imputation: Critic, x: Tensor, m: Tensor, tau: float, beta: float) -> Tensor:
    """L_data + beta * L_imputation of generated images x and masks m: what Gx descends.

    In the imputation critic's game Gx makes the real side: it goes down where the critic goes up.
    """
    return beta * imputation(x).float().mean() - data(fill(x, m, tau)).float().mean()


def imputer_loss(imputation: Critic, recovered: Tensor) -> Tensor:
    """L_imputation of recovered images: what Gi descends."""
    return -imputation(recovered).float().mean()


def recover(imputer: nn.Module, images: MaskedImages, noise: Tensor) -> Tensor:
    """Gi of the images with noise (N, C, H, W) for their missing pixels, observed pixels put back."""
    return images.paste(imputer(images.paste(noise)).float())


@dataclass
class Game:
    """The six networks and their optimisers by name, and the generator of their noise."""

    settings: MisGAN
    networks: dict[str, nn.Module]
    adams: dict[str, torch.optim.Optimizer]
    noise: torch.Generator

    def images(self, count: int) -> Tensor:
        """Gx of fresh codes: (count, C, H, W) in (0, 1)."""
        return torch.sigmoid(self.networks["data_generator"](self._codes(count))).float()

    def masks(self, count: int) -> Tensor:
        """Gm of fresh codes: (count, 1, H, W) in [0, 1], nearly always 0 or 1, 1 where observed."""
        return nearly_binary(self.networks["missingness_generator"](self._codes(count)).float())

    def recovered(self, batch: MaskedImages) -> Tensor:
        """Gi of incomplete images with fresh noise: (N, C, H, W)."""
        noise = torch.rand(batch.pixels.shape, generator=self.noise, device=batch.device)
        return recover(self.networks["imputer"], batch, noise)

    def update_critics(self, batch: MaskedImages, penalty: float | None) -> dict[str, Tensor]:
        """One step of each critic; the distances before it. `penalty` is as in `raise_distance`."""
        with torch.no_grad():
            x, m = self.images(len(batch)), self.masks(len(batch))
            recovered = self.recovered(batch)
        observed, distances = batch.observed.float(), {}
        tau = self.settings.tau
        for name, real, fake in (
            ("data", fill(batch.values, observed, tau), fill(x, m, tau)),
            ("mask", observed, m),
            ("imputation", x, recovered),
        ):
            critic, optimiser = self.networks[f"{name}_critic"], self.adams[f"{name}_critic_adam"]
            distances[name] = raise_distance(critic, optimiser, (real,), (fake,), penalty, self.noise)
        return distances

    def update_generators(self, batch: MaskedImages) -> None:
        """One step of Gm, of Gx and of Gi, each against fixed critics and with fresh noise."""
        settings, tau = self.settings, self.settings.tau
        data, mask, imputation = (self.networks[f"{it}_critic"] for it in ("data", "mask", "imputation"))
        with fixed(data, mask, imputation):
            with torch.no_grad():
                x = self.images(len(batch))
            loss = missingness_loss(mask, data, x, self.masks(len(batch)), tau, settings.data_weight)
            descend(self.adams["missingness_generator_adam"], loss)
            with torch.no_grad():
                m = self.masks(len(batch))
            x = self.images(len(batch))
            loss = data_loss(data, imputation, x, m, tau, settings.imputation_weight)
            descend(self.adams["data_generator_adam"], loss)
            descend(self.adams["imputer_adam"], imputer_loss(imputation, self.recovered(batch)))

    def _codes(self, count: int) -> Tensor:
        return torch.randn(count, self.settings.latent, generator=self.noise, device=self.noise.device)


@dataclass
class MisGAN(Batchwise):
    """Three Wasserstein games played together: over incomplete images, masks and recovered images.

    Settings:
        tau: value of a missing pixel in what the data critic sees.
        data_weight: of the data critic's term in the missingness generator's loss (the paper's alpha).
        imputation_weight: of the imputation critic's term in the data generator's loss (the paper's beta).
            In the authors' code no gradient of this term reaches the data generator; 0 does the same.
        gradient_penalty: its weight in each critic's loss.
        penalty_every: in each so many critic updates one has the penalty, with so many times its weight.
        critic_steps: critic updates to one update of the generators.
        architecture: "convolutional", as the published numbers; "dense", the fully connected generators and
            critics that the authors' code has for MNIST too, several times as fast on a CPU.
        latent, width: length of the generators' random codes; channels of the convolutions next to the image.
        average: the share of the old average in the running average of the imputer's weights, which then
            imputes; 0 means that the last weights do, as published.
        epochs, batch_size: the schedule; each batch is one critic update.
        learning_rate, imputer_learning_rate: of both generators, of the imputer, and of their critics.
    """

    tau: float = 0.0
    data_weight: Weight = 0.1
    imputation_weight: Weight = 0.1
    gradient_penalty: Weight = 10.0
    penalty_every: Count = 1
    critic_steps: Count = 5
    architecture: Architecture = "convolutional"
    latent: Count = 128
    width: Count = 64
    average: Share = 0.0
    epochs: Count = 1000
    batch_size: Count = 64
    learning_rate: Positive = 1e-4
    imputer_learning_rate: Positive = 2e-4

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        if self.architecture == "convolutional":
            check_batch(train.shape, min(self.batch_size, len(train)))
        self.context = context
        train = train.to(context.device)
        game = self.new_game(train.shape)
        self.imputer = game.networks["imputer"]
        parts: dict[str, Any] = {**game.networks, **game.adams, "noise": game.noise}
        average = Average(self.imputer, self.average) if self.average else None
        if average is not None:
            self.imputer, parts["average"] = average.network, average
        training = Training(context, parts, len(train), self.batch_size, self.epochs)
        for indices in training:
            batch = train[indices]
            with products_in(context):
                penalty = penalty_of_step(training.step, self.gradient_penalty, self.penalty_every)
                training.record(game.update_critics(batch, penalty))
                if (training.step + 1) % self.critic_steps == 0:
                    game.update_generators(batch)
                    if average is not None:
                        average.update(game.networks["imputer"])

    def fill(self, batch: MaskedImages) -> Tensor:
        with evaluating(self.imputer), products_in(self.context):
            return recover(self.imputer, batch, noise_for(batch, self.context.seed, batch.shape))

    def new_game(self, shape: Shape) -> Game:
        """The game for images (C, H, W) before its first step."""
        with seeded(self.context, "weights"):
            players = networks(shape, self.latent, self.width, self.architecture)
        adams: dict[str, torch.optim.Optimizer] = {}
        for name, network in players.items():
            rate = self.imputer_learning_rate if name.startswith("imput") else self.learning_rate
            adams[f"{name}_adam"] = adam(network.to(self.context.device).parameters(), rate, BETAS)
        return Game(self, players, adams, self.context.generator("noise"))

    display_name = "MisGAN"
    impute_batch = 512
    presets = {
        "smoke": {"epochs": 1, "batch_size": 64, "width": 8},
        "quick": {"epochs": 3, "batch_size": 32, "width": 16, **HASTE},
        **on_photos({"epochs": 2}, "quick"),
        "standard": {"epochs": 100},
        **on_photos({"epochs": 80}, "standard"),
        **on_photos({"epochs": 800}, "paper"),
    }
    for_dataset = on_photos({"tau": 0.5, "batch_size": 512})
    citation = """@inproceedings{li2019misgan,
  title = {{MisGAN}: Learning from Incomplete Data with Generative Adversarial Networks},
  author = {Li, Steven Cheng-Xian and Jiang, Bo and Marlin, Benjamin M.},
  booktitle = {International Conference on Learning Representations},
  year = {2019}
}"""
