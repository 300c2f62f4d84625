"""ResNet18 in its 32x32 form: the judge of CIFAR-10, and of a user's own images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.classifiers import vision
from bench.classifiers.training import Schedule, Stage

MEAN = (0.4914, 0.4822, 0.4465)
STANDARD_DEVIATION = (0.2470, 0.2435, 0.2616)

# Thirty epochs at full size, for a GPU: 93 to 95 % are usual for this network, batch, weight decay, crops,
# mirroring and one-cycle rate (Page, "How to train your ResNet", 2018, starts at 94 % in about 30 epochs).
THOROUGH = Schedule(stages=(Stage(32, 30),), batch_size=128, peak_rate=0.1, bfloat16=True)
# About an hour and a half on two CPU cores: small images first, since a step on half the width costs
# a third; the full size only where the rate is already low. The weights that come with the package are
# its work, on the JPEG copy of CIFAR-10: 83.6 %.
SHORT = Schedule(
    stages=(Stage(16, 5), Stage(24, 2), Stage(32, 0.8)), batch_size=128, peak_rate=0.1, crop_padding=2
)
SCHEDULES = {"gpu": THOROUGH, "cpu": SHORT}


class ResNet18(nn.Module):
    """torchvision's ResNet18 with a 3x3 stem and no first pooling (He et al., 2016, section 4.2).

    Takes float32 (N, 3, 32, 32) in [0, 1]; normalises each channel by CIFAR-10's mean and deviation. Grey
    images, (N, 1, 32, 32), are taken as colour images without colour.
    """

    name = "ResNet18"
    layer = "global average pool (512)"
    normalisation = f"(x - {MEAN}) / {STANDARD_DEVIATION} by channel"
    dimensions = 512
    size = 32
    mean: Tensor
    deviation: Tensor

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        network = vision.load("torchvision.models").resnet18(num_classes=classes, zero_init_residual=True)
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
        self.output = network.fc
        network.fc = nn.Identity()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(STANDARD_DEVIATION).view(3, 1, 1), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """(N, 512), float32: the last block averaged over positions."""
        pooled: Tensor = self.network((images - self.mean) / self.deviation)
        return pooled

    def forward(self, images: Tensor) -> Tensor:
        """(N, classes), float32: logits."""
        logits: Tensor = self.output(self.features(images))
        return logits


def build(seed: int = 0, classes: int = 10) -> ResNet18:
    """A ResNet18 with fresh weights that depend on the seed alone; the global generator is not used."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ResNet18(classes)
