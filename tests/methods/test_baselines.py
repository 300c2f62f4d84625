"""What every baseline promises of `impute`, on grey and colour images, some with nothing observed."""

from __future__ import annotations

import pytest
import torch

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.methods.biharmonic import Biharmonic
from bench.methods.gain import GAIN
from bench.methods.gaussian import Gaussian
from bench.methods.knn import NearestImages
from bench.methods.linear import Linear
from bench.methods.mean import Mean
from bench.methods.miwae import MIWAE
from bench.methods.nearest import Nearest
from bench.methods.unet import UNetImputer
from tests.methods.adversarial import check_imputation, made_images

METHODS: list[Imputer] = [
    Mean(),
    Nearest(),
    Linear(),
    Biharmonic(),
    NearestImages(neighbours=3),
    Gaussian(rank=3, iterations=3),
    UNetImputer(width=8, epochs=2, batch_size=8, patience=0),
    MIWAE(hidden=8, samples=2, impute_samples=4, epochs=2, batch_size=8),
    GAIN(hidden=8, epochs=2, batch_size=8),
]


@pytest.mark.parametrize("shape", [(1, 9, 7), (3, 8, 8)])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_promises(method: Imputer, shape: tuple[int, int, int]) -> None:
    train, test = (half_blind(made_images(shape, count, observed_rate=0.2)) for count in (24, 10))
    before = train.pixels.clone(), train.observed.clone()
    method.fit(train, FitContext())
    assert torch.equal(train.pixels, before[0]) and torch.equal(train.observed, before[1])
    imputed = check_imputation(method, test)
    method.fit(train, FitContext())
    assert torch.equal(method.impute(test), imputed)
    blind = MaskedImages(torch.zeros_like(train.pixels), torch.zeros_like(train.observed))
    method.fit(blind, FitContext())
    assert method.impute(blind).isfinite().all()


def half_blind(images: MaskedImages) -> MaskedImages:
    """The same images, every fourth with nothing observed, every fourth with one pixel."""
    observed = images.observed.clone()
    observed[::4] = False
    observed[1::4] = False
    observed[1::4, :, 0, 0] = True
    return MaskedImages(images.pixels * observed, observed)


def test_neighbours_are_looked_for_in_all_classes_of_sorted_files() -> None:
    pixels = torch.cat([torch.zeros(10, 1, 2, 2), torch.full((10, 1, 2, 2), 255.0)]).to(torch.uint8)
    method = NearestImages(neighbours=1, subset=4)
    method.fit(MaskedImages(pixels, torch.ones(20, 1, 2, 2, dtype=torch.bool)), FitContext())
    observed = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    observed[0, 0, 0, 0] = False
    assert method.impute(MaskedImages(pixels[-1:] * observed, observed)).flatten().tolist() == [1, 1, 1, 1]


def test_all_say_that_they_are_baselines() -> None:
    assert all(method.baseline and method.display_name for method in METHODS)
