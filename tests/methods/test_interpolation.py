"""Baselines without training: against hand-computed cases and surfaces whose continuation is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.methods.biharmonic import Biharmonic
from bench.methods.knn import NearestImages
from bench.methods.linear import Linear
from bench.methods.mean import Mean
from bench.methods.nearest import Nearest
from tests.real import mnist, rmse_on_missing


def images_of(pixels: list[list[list[int]]], observed: list[list[list[int]]]) -> MaskedImages:
    """Grey images, (N, H, W) each."""
    seen = torch.tensor(observed, dtype=torch.bool)[:, None]
    return MaskedImages(torch.tensor(pixels, dtype=torch.uint8)[:, None] * seen, seen)


def imputed(method: Imputer, images: MaskedImages, train: MaskedImages | None = None) -> Tensor:
    """The imputation in 0 to 255."""
    method.fit(images if train is None else train, FitContext())
    return method.impute(images) * 255


def plane(rate: float, size: int = 12) -> tuple[Tensor, MaskedImages]:
    """A colour image whose channels are planes, its corners observed: all others lie inside."""
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    truth = torch.stack([10 + 3 * row + 5 * column, 200 - 9 * row + 2 * column, 7 * row])[None]
    observed = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(1)) >= rate
    for corner_row in (0, -1):
        for corner_column in (0, -1):
            observed[..., corner_row, corner_column] = True
    return truth.float(), MaskedImages(truth.to(torch.uint8) * observed, observed)


def test_mean_by_hand() -> None:
    train = images_of([[[10, 20, 0]], [[30, 60, 0]], [[0, 90, 0]]], [[[1, 1, 0]], [[1, 0, 0]], [[0, 1, 0]]])
    none = images_of([[[0, 0, 0]]], [[[0, 0, 0]]])
    # Means 20 and 55; the last pixel was never seen and takes the mean of all seen, 150 / 4.
    expected = torch.tensor([20.0, 55.0, 37.5])
    torch.testing.assert_close(imputed(Mean(), none, train)[0, 0, 0], expected)
    assert imputed(Mean(), none, none)[0, 0, 0].tolist() == [127.5] * 3


def test_nearest_by_hand() -> None:
    images = images_of([[[10, 0, 0, 0, 0, 90, 0]]], [[[1, 0, 0, 0, 0, 1, 0]]])
    assert imputed(Nearest(), images)[0, 0, 0].round().tolist() == [10, 10, 10, 90, 90, 90, 90]


@pytest.mark.parametrize("rate", [0.3, 0.6, 0.9])
def test_linear_is_exact_on_planes(rate: float) -> None:
    truth, images = plane(rate)
    torch.testing.assert_close(imputed(Linear(), images), truth, atol=1e-3, rtol=0)


def test_linear_inside_a_triangle_and_nearest_outside() -> None:
    images = images_of(
        [[[0, 0, 120, 0], [0, 0, 0, 0], [60, 0, 0, 0], [0, 0, 0, 0]]],
        [[[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]],
    )
    filled = imputed(Linear(), images)[0, 0]
    expected = torch.tensor([[0.0, 60, 120], [30, 90, 120], [60, 60, 0]])
    inside = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.bool)
    torch.testing.assert_close(filled[:3, :3][inside], expected[inside], atol=1e-4, rtol=0)
    assert filled[0, 3].round() == 120 and filled[3, 0].round() == 60


def test_linear_on_one_line_is_nearest() -> None:
    images = images_of([[[50, 0, 0], [0, 0, 0], [0, 0, 250]]], [[[1, 0, 0], [0, 0, 0], [0, 0, 1]]])
    assert torch.equal(imputed(Linear(), images), imputed(Nearest(), images))
    single = images_of([[[50, 0], [0, 0]]], [[[1, 0], [0, 0]]])
    assert imputed(Linear(), single).round().flatten().tolist() == [50] * 4


def test_biharmonic_solves_the_biharmonic_equation() -> None:
    """Far from the border every filled-in pixel's 13-point bi-Laplacian must vanish."""
    size = 14
    generator = torch.Generator().manual_seed(2)
    # A narrow range, so that no overshoot is clipped.
    pixels = torch.randint(110, 140, (1, 1, size, size), generator=generator, dtype=torch.uint8)
    observed = torch.rand(1, 1, size, size, generator=generator) >= 0.4
    images = MaskedImages(pixels * observed, observed)
    surface = imputed(Biharmonic(), images)[0, 0].double().numpy()
    low, high = surface[observed[0, 0].numpy()].min(), surface[observed[0, 0].numpy()].max()
    stencil = {(0, 0): 20, (0, 1): -8, (1, 1): 2, (0, 2): 1}
    checked = 0
    for row, column in np.argwhere(~observed[0, 0].numpy()):
        total, inside = 0.0, 2 <= row < size - 2 and 2 <= column < size - 2
        for down in range(-2, 3):
            for right in range(-2, 3):
                weight = stencil.get((min(abs(down), abs(right)), max(abs(down), abs(right))), 0)
                near = surface[row + down, column + right] if weight and inside else 0.0
                # scikit-image clips the surface to the range of what is observed.
                inside = inside and (
                    not weight or low < near < high or observed[0, 0, row + down, column + right]
                )
                total += weight * near
        if inside:
            checked += 1
            assert abs(total) < 1e-2
    assert checked > 5


def test_nearest_images_by_hand() -> None:
    train = images_of(
        [[[10, 10, 100]], [[14, 0, 200]], [[90, 90, 0]], [[10, 255, 0]]],
        [[[1, 1, 1]], [[1, 0, 1]], [[1, 1, 1]], [[1, 1, 0]]],
    )
    asked = images_of([[[10, 10, 0]]], [[[1, 1, 0]]])
    # Squared distances, scaled to three values: 0; 3 * 16 = 48; 1.5 * 12800; the last has no third value.
    for neighbours, expected in ((1, 100.0), (2, 150.0), (3, 100.0)):
        found = imputed(NearestImages(neighbours=neighbours, subset=4), asked, train)
        assert float(found[0, 0, 0, 2]) == pytest.approx(expected)


def test_nearest_images_searches_the_subset_only_and_falls_back_on_the_mean() -> None:
    train = images_of(
        [[[10, 100, 0]], [[90, 200, 0]], [[10, 0, 80]]], [[[1, 1, 0]], [[1, 1, 0]], [[1, 1, 1]]]
    )
    asked = images_of([[[11, 0, 0]], [[0, 0, 0]]], [[[1, 0, 0]], [[0, 0, 0]]])
    found = imputed(NearestImages(neighbours=1, subset=2), asked, train)
    assert found[0, 0, 0].tolist() == pytest.approx([11, 100, 80])
    # With nothing to compare, the subset's mean; what the subset never shows, the mean of all.
    assert found[1, 0, 0].tolist() == pytest.approx([50, 150, 80])


def test_real_digits_are_ranked_as_known() -> None:
    """On real digits each of these knows more than the one before it."""
    _, train = mnist("train", 300, rate=0.6)
    truth, test = mnist("t10k", 60, rate=0.6)
    errors = [
        rmse_on_missing(truth, test, imputed(method, test, train) / 255)
        for method in (Mean(), Nearest(), Linear(), Biharmonic())
    ]
    assert errors == sorted(errors, reverse=True)
    near = rmse_on_missing(truth, test, imputed(NearestImages(subset=300), test, train) / 255)
    assert near < errors[0]
