"""A U-Net that learns to fill in by hiding some of what is observed (compare Noise2Self, Batson and Royer,
ICML 2019: what is predicted is never among the inputs, so the network cannot learn to copy).

Of each training image's observed pixels a random share is kept as input; the loss is the squared error
on the others. A missing pixel's truth is never needed: a hidden pixel stands in for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.methods.nn.unet import UNet
from bench.methods.nn.wgan import descend
from bench.methods.training import Stateful, StopWhenFlat, impute_in_batches, products_in, seeded, train

IMPUTE_BATCH = 500
WARM_UP = 0.05
AVERAGING = 0.999
MOST_EPOCHS = 500


@dataclass
class UNetImputer(Imputer):
    """U-Net trained to predict observed pixels that it was not shown from those that it was.

    Settings:
        width: channels at full resolution; twice and four times as many at a half and a quarter.
        keep_least: the least share of an image's observed pixels that is kept as input; the share is drawn
            anew for each image, evenly between this and 1, so inputs as dense as the test's occur.
        epochs, batch_size, learning_rate: the schedule: a warm-up, then a cosine down to zero.
        patience, tolerance: with a patience the learning rate stays at its height until the error's best of
            the last `patience` epochs is less than `tolerance` (a fraction) better than the best before
            them, or for MOST_EPOCHS; the cosine of `epochs` epochs follows. 0: it begins at once.
        weight_decay: of AdamW.
    """

    width: int = 32
    keep_least: float = 0.5
    epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    patience: int = 10
    tolerance: float = 0.005

    display_name: ClassVar[str] = "U-Net"
    citation: ClassVar[str] = """@inproceedings{batson2019noise2self,
  title = {{Noise2Self}: Blind Denoising by Self-Supervision},
  author = {Batson, Joshua and Royer, Loic},
  booktitle = {International Conference on Machine Learning},
  year = {2019}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"width": 8, "epochs": 6, "patience": 0},
        "quick": {"epochs": 6, "batch_size": 32, "patience": 0},
        "standard": {"epochs": 3, "batch_size": 32, "patience": 0},
    }
    baseline: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.keep_least < 1:
            raise ValueError(f"keep_least must lie in (0, 1), not {self.keep_least:g}")
        if self.width < 8 or self.width % 8:
            raise ValueError(f"width must be a multiple of 8, not {self.width}")

    def fit(self, train_images: MaskedImages, context: FitContext) -> None:
        self._context = context
        self._train = train_images.to(context.device)
        self._build(train_images.shape[0])
        batches = len(train_images) // min(self.batch_size, len(train_images))
        self._schedule = Schedule(self, self.epochs * batches)
        self._hiding = context.generator("hiding")
        parts: dict[str, Stateful | torch.Generator] = {
            "network": self.network,
            "average": self._average,
            "adam": self._adam,
            "hiding": self._hiding,
            "schedule": self._schedule,
        }
        train(
            context,
            parts,
            self._step,
            count=len(train_images),
            batch_size=self.batch_size,
            epochs=self.epochs + (MOST_EPOCHS if self.patience else 0),
            after_epoch=self._schedule.after_epoch,
        )
        context.facts["parameters"] = sum(part.numel() for part in self.network.parameters())
        del self._train

    @torch.no_grad()
    def impute(self, images: MaskedImages) -> Tensor:
        def fill(batch: MaskedImages) -> Tensor:
            predicted: Tensor = self._average(inputs(batch.values, batch.observed))
            return predicted.clamp(0, 1)

        return impute_in_batches(images, IMPUTE_BATCH, self._context.device, fill)

    def _build(self, channels: int) -> None:
        widths = (self.width, 2 * self.width, 4 * self.width)
        with seeded(self._context, "network"):
            network = UNet(channels + 1, channels, widths)
        # Convolutions are a few times faster on this layout.
        self.network = network.to(self._context.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._average = AveragedModel(self.network, multi_avg_fn=average)
        # Not the fused kernel: it takes for granted that weights and its state lie alike in memory, and
        # after a checkpoint they do not.
        self._adam = torch.optim.AdamW(
            self.network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )

    def _step(self, indices: Tensor, number: int) -> dict[str, Tensor]:
        batch = self._train[indices]
        kept = self.keep(batch.observed)
        loss = self.loss(batch, kept)
        for group in self._adam.param_groups:
            group["lr"] = self.learning_rate * self._schedule(number)
        descend(self._adam, loss)
        self._average.update_parameters(self.network)
        return {"hidden error": loss.detach()}

    def keep(self, observed: Tensor) -> Tensor:
        """Which observed pixels are shown: each with a probability drawn anew for its image.

        Args:
            observed: (N, 1, H, W), bool. Returns the same.
        """
        drawn = torch.rand(len(observed), 1, 1, 1, generator=self._hiding, device=observed.device)
        share = self.keep_least + (1 - self.keep_least) * drawn
        return observed & (torch.rand(observed.shape, generator=self._hiding, device=observed.device) < share)

    def loss(self, batch: MaskedImages, kept: Tensor) -> Tensor:
        """Mean squared error over the observed values that are not kept; 0 where there are none.

        Args:
            kept: (N, 1, H, W), bool: a part of `batch.observed`.
        """
        values = batch.values
        with products_in(self._context.precision, self._context.device):
            predicted = self.network(inputs(values, kept))
        hidden = (batch.observed & ~kept).float()
        errors = (predicted.float() - values).square() * hidden
        mean: Tensor = errors.sum() / (hidden.sum() * values.shape[1]).clamp(min=1)
        return mean


def inputs(values: Tensor, shown: Tensor) -> Tensor:
    """(N, C + 1, H, W): values where shown, 0 elsewhere; and `shown` itself."""
    seen = shown.to(values.dtype)
    return torch.cat([values * seen, seen], 1).contiguous(memory_format=torch.channels_last)


class Schedule:
    """Share of the learning rate by step: a straight rise, a level stretch until the error is flat, a cosine.

    Args:
        method: whose `patience` and `tolerance` end the level stretch; without a patience there is none.
        steps: of the rise and the cosine together.
    """

    def __init__(self, method: UNetImputer, steps: int) -> None:
        self.patience, self.epochs, self.steps = method.patience, method.epochs, steps
        self.flat = StopWhenFlat(method.patience, method.tolerance)
        self.level_epochs = None if method.patience else 0

    def __call__(self, step: int) -> float:
        """The share at a step, in [0, 1]."""
        if step < WARM_UP * self.steps:
            return (step / self.steps + 1e-3) / WARM_UP
        if self.level_epochs is None:
            return 1.0
        fallen = step / self.steps - self.level_epochs / self.epochs
        return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, fallen - WARM_UP) / (1 - WARM_UP))))

    def after_epoch(self, epochs: int, means: Mapping[str, float]) -> bool:
        """Take in an epoch's error; True when the cosine has reached its end."""
        if self.level_epochs is None and (self.flat(means["hidden error"]) or epochs == MOST_EPOCHS):
            self.level_epochs = epochs
        return self.level_epochs is not None and epochs >= self.level_epochs + self.epochs

    def state_dict(self) -> dict[str, Any]:
        return {"flat": self.flat.state_dict(), "level_epochs": self.level_epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.flat.load_state_dict(state["flat"])
        self.level_epochs = state["level_epochs"]


def average(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
    """Exponential moving averages, in place, whose memory grows with the number of steps, up to 1000 of them.

    Args:
        count: how many steps were averaged before; a tensor on the same device saves waiting for it.
    """
    share = torch.as_tensor(9 / (10 + count)).clamp(min=1 - AVERAGING)
    for kept, new in zip(averaged, current, strict=True):
        kept.lerp_(new, share)
