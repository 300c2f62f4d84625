"""LeNet-5 for 28x28 grey images: the judge of MNIST, and of a user's own small grey images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.classifiers.training import Schedule, Stage

MEAN, STANDARD_DEVIATION = 0.1307, 0.3081
SCHEDULE = Schedule(stages=(Stage(28, 12),), batch_size=100, peak_rate=0.05, crop_padding=2, flip=False)
SCHEDULES = {"gpu": SCHEDULE, "cpu": SCHEDULE}


class LeNet(nn.Module):
    """Two convolutions and three linear layers, with ReLU and max pooling (LeCun et al., 1998).

    Takes float32 (N, 1, 28, 28) in [0, 1]; subtracts MNIST's mean and divides by its deviation.
    """

    name = "LeNet"
    layer = "second linear layer after ReLU (84)"
    normalisation = f"(x - {MEAN}) / {STANDARD_DEVIATION}"
    dimensions = 84
    size = 28

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.hidden = nn.Sequential(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU())
        self.output = nn.Linear(84, classes)

    def features(self, images: Tensor) -> Tensor:
        """(N, 84), float32: what the last layer sees."""
        hidden: Tensor = self.hidden(self.convolutions((images - MEAN) / STANDARD_DEVIATION))
        return hidden

    def forward(self, images: Tensor) -> Tensor:
        """(N, classes), float32: logits."""
        logits: Tensor = self.output(self.features(images))
        return logits


def build(seed: int = 0, classes: int = 10) -> LeNet:
    """A LeNet with fresh weights that depend on the seed alone; the global generator is not used."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LeNet(classes)
