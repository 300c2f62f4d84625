"""A U-Net that learns to fill in by hiding some of what is observed (compare Noise2Self, Batson and Royer,
ICML 2019: what is predicted is never among the inputs, so the network cannot learn to copy).

Of each training image's observed pixels a random share is kept as input; the loss is the squared error
on the others. A missing pixel's truth is never needed: a hidden pixel stands in for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt, MultipleOf
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.batchwise import Batchwise
from bench.methods.nn.residual_unet import UNet
from bench.methods.optimisation import descend, products_in, seeded, set_rate
from bench.methods.settings import Count, CountOrZero, Positive, Weight
from bench.methods.training import Parts, StopWhenFlat, Training

WARM_UP = 0.05
AVERAGING = 0.999
MOST_EPOCHS = 500


def keep(observed: Tensor, least: float, generator: torch.Generator) -> Tensor:
    """Which observed pixels are shown: each with a probability drawn anew for its image.

    Args:
        observed: (N, 1, H, W), bool. Returns the same.
        least: the least probability; it is drawn evenly between this and 1.
    """
    device = observed.device
    drawn = torch.rand(len(observed), 1, 1, 1, generator=generator, device=device)
    share = least + (1 - least) * drawn
    return observed & (torch.rand(observed.shape, generator=generator, device=device) < share)


def inputs(values: Tensor, shown: Tensor) -> Tensor:
    """(N, C + 1, H, W): values where shown, 0 elsewhere; and `shown` itself."""
    seen = shown.to(values.dtype)
    return torch.cat([values * seen, seen], 1).contiguous(memory_format=torch.channels_last)


def hidden_error(predicted: Tensor, images: MaskedImages, kept: Tensor) -> Tensor:
    """Mean squared error over the observed values that are not kept; 0 if there are none.

    Args:
        predicted: (N, C, H, W); kept: (N, 1, H, W), bool: a part of `images.observed`.
    """
    hidden = (images.observed & ~kept).float()
    errors = (predicted - images.values).square() * hidden
    mean: Tensor = errors.sum() / (hidden.sum() * images.shape[0]).clamp(min=1)
    return mean


class Schedule:
    """Share of the learning rate by step: a straight rise, a level stretch until the error is flat, a cosine.

    Args:
        epochs, steps: of the rise and the cosine together.
        patience, tolerance: of the `StopWhenFlat` that ends the level stretch; patience 0: there is none.
    """

    def __init__(self, epochs: int, steps: int, patience: int, tolerance: float) -> None:
        self.epochs, self.steps = epochs, steps
        self.flat = StopWhenFlat(patience, tolerance)
        self.level_epochs = None if patience else 0

    def __call__(self, step: int) -> float:
        """The share at a step, in [0, 1]."""
        if step < WARM_UP * self.steps:
            return (step / self.steps + 1e-3) / WARM_UP
        if self.level_epochs is None:
            return 1.0
        fallen = step / self.steps - self.level_epochs / self.epochs
        return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, fallen - WARM_UP) / (1 - WARM_UP))))

    def after_epoch(self, epochs: int, error: float) -> bool:
        """Take in the error of the latest of some epochs; True when the cosine has reached its end."""
        if self.level_epochs is None and (self.flat(error) or epochs == MOST_EPOCHS):
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


@dataclass
class UNetImputer(Batchwise):
    """U-Net trained to predict observed pixels that it was not shown from those that it was.

    Settings:
        width: channels at full resolution; twice and four times as many at a half and a quarter.
        keep_least: the least share of an image's observed pixels that is kept as input. The share is drawn
            anew for each image, evenly between this and 1, so that some inputs are as dense as test images.
        epochs, batch_size, learning_rate: the schedule: a warm-up, then a cosine down to zero.
        patience, tolerance: with a patience the learning rate stays at its height until the error's best of
            the last `patience` epochs is less than `tolerance` (a fraction) better than the best before
            them, or for MOST_EPOCHS; the cosine of `epochs` epochs follows. 0: it begins at once.
        weight_decay: of AdamW.
    """

    width: Annotated[int, Ge(8), MultipleOf(8)] = 32
    keep_least: Annotated[float, Gt(0), Lt(1)] = 0.5
    epochs: Count = 50
    batch_size: Count = 64
    learning_rate: Positive = 1e-3
    weight_decay: Weight = 0.01
    patience: CountOrZero = 10
    tolerance: Weight = 0.005

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        self.context = context
        train = train.to(context.device)
        network = self.new_network(train.shape[0])
        self.average = AveragedModel(network, multi_avg_fn=average)
        # Not the fused kernel: it expects that weights and state have the same layout in memory, which they
        # do not have after a checkpoint.
        adam = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        hiding = context.generator("hiding")
        steps = self.epochs * (len(train) // min(self.batch_size, len(train)))
        schedule = Schedule(self.epochs, steps, self.patience, self.tolerance)
        learnt: Parts = {"network": network, "average": self.average, "adam": adam}
        parts: Parts = {**learnt, "hiding": hiding, "schedule": schedule}
        most = self.epochs + (MOST_EPOCHS if self.patience else 0)
        training = Training(context, parts, len(train), self.batch_size, most)
        with training.epochs() as epochs:
            for epoch in epochs:
                for indices in epoch:
                    batch = train[indices]
                    kept = keep(batch.observed, self.keep_least, hiding)
                    with products_in(context):
                        predicted = network(inputs(batch.values, kept))
                    loss = hidden_error(predicted.float(), batch, kept)
                    set_rate(adam, self.learning_rate * schedule(training.step))
                    descend(adam, loss)
                    self.average.update_parameters(network)
                    training.record({"hidden error": loss.detach()})
                if schedule.after_epoch(training.epoch, epoch.losses["hidden error"]):
                    training.finish()
        # The average is among the parts, and holds the same weights once more.
        context.facts["parameters"] = sum(weight.numel() for weight in network.parameters())

    def fill(self, batch: MaskedImages) -> Tensor:
        predicted: Tensor = self.average(inputs(batch.values, batch.observed))
        return predicted.clamp(0, 1)

    def new_network(self, channels: int) -> nn.Module:
        """The network for images of so many channels, with fresh weights."""
        with seeded(self.context, "network"):
            network = UNet(channels + 1, channels, (self.width, 2 * self.width, 4 * self.width))
        # Convolutions are a few times faster on this layout.
        return network.to(self.context.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    display_name = "U-Net"
    baseline = True
    presets = {
        "smoke": {"width": 8, "epochs": 6, "patience": 0},
        "quick": {"epochs": 6, "batch_size": 32, "patience": 0},
        "standard": {"epochs": 3, "batch_size": 32, "patience": 0},
    }
    citation = """@inproceedings{batson2019noise2self,
  title = {{Noise2Self}: Blind Denoising by Self-Supervision},
  author = {Batson, Joshua and Royer, Loic},
  booktitle = {International Conference on Machine Learning},
  year = {2019}
}"""
