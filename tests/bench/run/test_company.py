"""A method that uses the whole test set is told from one that imputes each image by that image alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.run.company import FEW, company
from tests.bench.command import Bench

COUNT = 9


@dataclass
class By(Imputer):
    """Imputes by a function of the images."""

    function: Callable[[MaskedImages], Tensor] = lambda images: images.pixels / 255

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        pass

    def impute(self, images: MaskedImages) -> Tensor:
        return self.function(images)

    def __post_init__(self) -> None:
        pass


def images(count: int = COUNT) -> MaskedImages:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, 6, 5), dtype=torch.uint8, generator=generator)
    return MaskedImages(pixels, torch.rand(count, 1, 6, 5, generator=generator) > 0.8)


def by_itself(images: MaskedImages) -> Tensor:
    return (images.pixels / 255).mean((1, 2, 3), keepdim=True).expand(images.pixels.shape)


def by_all(images: MaskedImages) -> Tensor:
    return (images.pixels / 255).mean(0, keepdim=True).expand(images.pixels.shape)


def by_place(images: MaskedImages) -> Tensor:
    place = torch.arange(len(images))[:, None, None, None] / COUNT
    return place.expand(images.pixels.shape)


def rounded(images: MaskedImages) -> Tensor:
    return by_itself(images) + 1e-3 / len(images)


def only_many(images: MaskedImages) -> Tensor:
    if len(images) < COUNT:
        raise RuntimeError("give me\nmore")
    return by_itself(images)


@pytest.mark.parametrize("function", [by_itself, rounded])
def test_an_image_by_itself_is_no_matter(function: Callable[[MaskedImages], Tensor]) -> None:
    assert company(By(function), images(), function(images())) is None


@pytest.mark.parametrize("function", [by_all, by_place])
def test_what_depends_on_other_images_is_told(function: Callable[[MaskedImages], Tensor]) -> None:
    given = images()
    rows = torch.tensor([0, 2, 5, 8])
    missing = ~given[rows].observed.expand(-1, 3, -1, -1)
    apart = (function(given)[rows] - function(given[rows]))[missing].square().mean().sqrt()
    assert company(By(function), given, function(given)) == (
        f"{FEW} test images are imputed otherwise without the others: values differ by {apart:.3f} (RMS)"
    )


def test_a_method_that_cannot_impute_a_few_images_loses_nothing() -> None:
    told = company(By(only_many), images(), only_many(images()))
    assert told == "4 test images cannot be imputed without the others: RuntimeError: give me more"


def test_so_few_images_say_nothing() -> None:
    assert company(By(by_all), images(FEW), by_all(images(FEW))) is None


def test_the_row_says_so(bench: Bench) -> None:
    bench.plugin()
    assert bench.run()[0] == 0
    assert "company" not in bench.results()[0]
    plugin = bench.folder / "constant.py"
    change = "images.pixels.float().div(255).mean(0, keepdim=True).expand(images.pixels.shape).clone()"
    plugin.write_text(plugin.read_text().replace("torch.full(images.pixels.shape, self.value)", change))
    assert bench.run()[0] == 0
    (result,) = bench.results()
    assert result["status"] == "ok" and "4 test images are imputed otherwise" in result["company"]
    for command in (["table"], ["status", "--plugin", str(plugin)]):
        assert "4 test images are imputed otherwise" in bench.call(*command)[1]
