"""MisGAN (Li, Jiang and Marlin, ICLR 2019): generators of images and of masks, learnt from incomplete images.

An incomplete image is x with its missing pixels set to tau: fill(x, m) = m * x + (1 - m) * tau, m = 1 where
observed. Three generators play against a critic each:

    a data generator Gx, whose images, seen through generated masks, must look like the incomplete ones;
    a missingness generator Gm, whose masks must look like the true ones;
    an imputer Gi, whose recovered images must look like Gx's complete ones.
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
from bench.methods.nn import convolutional
from bench.methods.nn.wgan import descend, fixed, raise_distance
from bench.methods.noise import noise_for
from bench.methods.training import adam, impute_in_batches, products_in, seeded, train

BETAS = (0.5, 0.9)
IMPUTE_BATCH = 512


@dataclass
class MisGAN(Imputer):
    """Three Wasserstein games played together: over incomplete images, masks and recovered images.

    Settings:
        tau: value of a missing pixel in what the data critic sees.
        data_weight: of the data critic's term in the missingness generator's loss (the paper's alpha).
        imputation_weight: of the imputation critic's term in the data generator's loss (the paper's beta).
            The authors' code has the term, but no gradient of it reaches the data generator; 0 does as
            that code does.
        gradient_penalty: its weight in each critic's loss.
        critic_steps: critic updates to one update of the generators.
        latent: length of the generators' random codes.
        width: channels of the convolutions next to the image.
        epochs, batch_size: the schedule; each batch is one critic update.
        learning_rate: of both generators and their critics.
        imputer_learning_rate: of the imputer and its critic.
    """

    tau: float = 0.0
    data_weight: float = 0.1
    imputation_weight: float = 0.1
    gradient_penalty: float = 10.0
    critic_steps: int = 5
    latent: int = 128
    width: int = 64
    epochs: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-4
    imputer_learning_rate: float = 2e-4

    display_name: ClassVar[str] = "MisGAN"
    citation: ClassVar[str] = """@inproceedings{li2019misgan,
  title = {{MisGAN}: Learning from Incomplete Data with Generative Adversarial Networks},
  author = {Li, Steven Cheng-Xian and Jiang, Bo and Marlin, Benjamin M.},
  booktitle = {International Conference on Learning Representations},
  year = {2019}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"epochs": 1, "batch_size": 64, "width": 8},
        "quick": {
            "epochs": 3,
            "batch_size": 32,
            "width": 16,
            "learning_rate": 3e-4,
            "imputer_learning_rate": 6e-4,
        },
        "quick/cifar10": {"epochs": 2},
        "quick/celeba": {"epochs": 2},
        "standard": {"epochs": 100},
        "standard/cifar10": {"epochs": 80},
        "standard/celeba": {"epochs": 80},
        "paper/cifar10": {"epochs": 800},
        "paper/celeba": {"epochs": 800},
    }
    for_dataset: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar10": {"tau": 0.5, "batch_size": 512},
        "celeba": {"tau": 0.5, "batch_size": 512},
    }

    # Networks

    def _build(self, shape: tuple[int, int, int], context: FitContext) -> None:
        mask_shape = (1, *shape[1:])
        with seeded(context, "weights"):
            networks = {
                "data_generator": convolutional.generator(self.latent, shape, self.width),
                "missingness_generator": convolutional.generator(self.latent, mask_shape, self.width),
                "imputer": convolutional.imputer(shape, self.width),
                "data_critic": convolutional.ImageCritic(shape, self.width),
                "mask_critic": convolutional.ImageCritic(mask_shape, self.width),
                "imputation_critic": convolutional.ImageCritic(shape, self.width),
            }
        self._networks = {name: network.to(context.device) for name, network in networks.items()}
        self._optimisers = {
            name: adam(
                network.parameters(),
                self.imputer_learning_rate if name.startswith("imput") else self.learning_rate,
                BETAS,
            )
            for name, network in self._networks.items()
        }

    def generate_images(self, count: int) -> Tensor:
        """Gx of fresh codes: (count, C, H, W) in (0, 1)."""
        return torch.sigmoid(self._networks["data_generator"](self._codes(count))).float()

    def generate_observed(self, count: int) -> Tensor:
        """Gm of fresh codes: (count, 1, H, W) in [0, 1], nearly always 0 or 1, 1 where observed."""
        return nearly_binary(self._networks["missingness_generator"](self._codes(count)).float())

    def recover(self, images: MaskedImages, noise: Tensor) -> Tensor:
        """Gi of the images with noise (N, C, H, W) for their missing pixels, observed pixels put back."""
        return images.paste(self._networks["imputer"](images.paste(noise)).float())

    def _codes(self, count: int) -> Tensor:
        return torch.randn(count, self.latent, generator=self._noise, device=self._context.device)

    # Losses of the three generators

    def missingness_loss(self, x: Tensor, observed: Tensor) -> Tensor:
        """L_mask + alpha * L_data of generated images and masks: what Gm descends."""
        incomplete = fill(x, observed, self.tau)
        return -self._score("mask", observed) - self.data_weight * self._score("data", incomplete)

    def data_loss(self, x: Tensor, observed: Tensor) -> Tensor:
        """L_data + beta * L_imputation of generated images and masks: what Gx descends."""
        # In the imputation critic's game Gx makes the real side: it goes down where the critic goes up.
        incomplete = fill(x, observed, self.tau)
        return self.imputation_weight * self._score("imputation", x) - self._score("data", incomplete)

    def imputer_loss(self, recovered: Tensor) -> Tensor:
        """L_imputation of recovered images: what Gi descends."""
        return -self._score("imputation", recovered)

    def _score(self, critic: str, inputs: Tensor) -> Tensor:
        scores: Tensor = self._networks[f"{critic}_critic"](inputs)
        return scores.float().mean()

    # Fit and impute

    def fit(self, train_images: MaskedImages, context: FitContext) -> None:
        convolutional.check_batch(train_images.shape, min(self.batch_size, len(train_images)))
        self._context = context
        self._build(train_images.shape, context)
        self._noise = context.generator("noise")
        self._train = train_images.to(context.device)
        train(
            context,
            {
                **self._networks,
                **{f"{name}_adam": optimiser for name, optimiser in self._optimisers.items()},
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
        self._networks["imputer"].eval()

        def fill(batch: MaskedImages) -> Tensor:
            with products_in(context.precision, context.device):
                return self.recover(batch, noise_for(batch, context.seed, batch.shape))

        imputed = impute_in_batches(images, IMPUTE_BATCH, context.device, fill)
        self._networks["imputer"].train()
        return imputed

    def _step(self, indices: Tensor, number: int) -> dict[str, Tensor]:
        batch = self._train[indices]
        with products_in(self._context.precision, self._context.device):
            distances = self._update_critics(batch)
            if (number + 1) % self.critic_steps == 0:
                with fixed(*(self._networks[f"{name}_critic"] for name in distances)):
                    self._update_generators(batch)
        return distances

    def _update_critics(self, batch: MaskedImages) -> dict[str, Tensor]:
        with torch.no_grad():
            generated, mask = self.generate_images(len(batch)), self.generate_observed(len(batch))
            recovered = self.recover(batch, self._uniform(batch))
        observed = batch.observed.float()
        pairs = {
            "data": (fill(batch.values, observed, self.tau), fill(generated, mask, self.tau)),
            "mask": (observed, mask),
            "imputation": (generated, recovered),
        }
        return {
            name: raise_distance(
                self._networks[f"{name}_critic"],
                self._optimisers[f"{name}_critic"],
                (real,),
                (fake,),
                penalty=self.gradient_penalty,
                generator=self._noise,
            )
            for name, (real, fake) in pairs.items()
        }

    def _update_generators(self, batch: MaskedImages) -> None:
        with torch.no_grad():
            x = self.generate_images(len(batch))
        observed = self.generate_observed(len(batch))
        descend(self._optimisers["missingness_generator"], self.missingness_loss(x, observed))

        with torch.no_grad():
            observed = self.generate_observed(len(batch))
        x = self.generate_images(len(batch))
        descend(self._optimisers["data_generator"], self.data_loss(x, observed))

        recovered = self.recover(batch, self._uniform(batch))
        descend(self._optimisers["imputer"], self.imputer_loss(recovered))

    def _uniform(self, batch: MaskedImages) -> Tensor:
        return torch.rand(batch.pixels.shape, generator=self._noise, device=batch.device)


def fill(x: Tensor, observed: Tensor, tau: float) -> Tensor:
    """m * x + (1 - m) * tau: x (N, C, H, W) and m (N, 1, H, W), both in [0, 1]."""
    return tau + observed * (x - tau)


def nearly_binary(values: Tensor) -> Tensor:
    """Squash any values to [0, 1] so that most end at 0 or 1 exactly, yet gradients flow between.

    A sigmoid of temperature 0.66, stretched to (-0.1, 1.1) and cut: the published masks' last layer.
    """
    return functional.hardtanh(torch.sigmoid(values / 0.66) * 1.2 - 0.1, 0, 1)
