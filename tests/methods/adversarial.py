"""What the tests of MisGAN and PBiGAN share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer, Interrupted
from bench.plugins.checkpoints import DiskCheckpoints

SHAPES = [(1, 28, 28), (3, 32, 32)]


def made_images(shape: tuple[int, int, int], count: int = 24, observed_rate: float = 0.4) -> MaskedImages:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    observed = torch.rand(count, 1, *shape[1:], generator=generator) < observed_rate
    return MaskedImages(pixels * observed, observed)


class Linear(nn.Module):
    """Scores an image by a weight times its sum: a critic that a hand can follow."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).sum(1) * self.weight


def weights_of(networks: Mapping[str, nn.Module]) -> dict[str, list[Tensor]]:
    return {name: [value.clone() for value in net.parameters()] for name, net in networks.items()}


def changed(before: dict[str, list[Tensor]], networks: Mapping[str, nn.Module]) -> set[str]:
    """Names of the networks with any other weights than before."""
    after = weights_of(networks)
    return {name for name in before if not all(map(torch.equal, before[name], after[name]))}


def interrupted_fit(method: Imputer, images: MaskedImages, folder: Path, steps: int) -> None:
    """Fit until a stop is asked for after some steps; what the fit saved then lies in `folder`."""
    asked = iter(range(steps))
    context = FitContext(
        checkpoints=DiskCheckpoints(folder), stop_requested=lambda: next(asked, None) is None
    )
    with pytest.raises(Interrupted):
        method.fit(images, context)


def check_imputation(method: Imputer, images: MaskedImages) -> Tensor:
    """The promises of `impute`, on a fitted method; returns the imputation."""
    before = images.pixels.clone(), images.observed.clone()
    imputed = method.impute(images)
    assert imputed.shape == images.pixels.shape and imputed.dtype == torch.float32
    assert imputed.device.type == "cpu" and not imputed.requires_grad
    assert imputed.min() >= 0 and imputed.max() <= 1
    assert torch.equal(images.pixels, before[0]) and torch.equal(images.observed, before[1])
    assert torch.equal(method.impute(images), imputed)
    alone = torch.cat([method.impute(one) for one in images.batches(1)])
    assert torch.allclose(alone, imputed, atol=1e-5)
    order = torch.arange(len(images)).flip(0)
    assert torch.allclose(method.impute(images[order]), imputed[order], atol=1e-5)
    return imputed
