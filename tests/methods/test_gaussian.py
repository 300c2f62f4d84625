"""The Gaussian: every quantity against dense textbook formulae, EM against what EM promises."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import multivariate_normal
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.gaussian import Factors, Gaussian, start
from bench.methods.mean import Mean
from tests.real import mnist, rmse_on_missing

CHANNELS, SIDE, RANK = 2, 4, 3
VALUES = CHANNELS * SIDE * SIDE


def drawn(seed: int = 0) -> Factors:
    """Random parameters, float64, of two-channel 4x4 images."""
    generator = torch.Generator().manual_seed(seed)
    shape = (CHANNELS, SIDE * SIDE)
    mean = torch.rand(shape, generator=generator, dtype=torch.float64)
    loadings = 0.3 * torch.randn(*shape, RANK, generator=generator, dtype=torch.float64)
    variance = 0.01 + 0.05 * torch.rand(shape, generator=generator, dtype=torch.float64)
    return Factors(mean, loadings, variance, floor=1e-4)


def made_images(count: int, rate: float = 0.5) -> MaskedImages:
    """Random images; the first shows nothing, the second everything."""
    generator = torch.Generator().manual_seed(5)
    pixels = torch.randint(0, 256, (count, CHANNELS, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    observed = torch.rand(count, 1, SIDE, SIDE, generator=generator) >= rate
    observed[0], observed[1] = False, True
    return MaskedImages(pixels * observed, observed)


def dense(factors: Factors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,) and covariance (D, D), written out."""
    loadings = factors.loadings.reshape(VALUES, RANK).numpy()
    return factors.mean.flatten().numpy(), loadings @ loadings.T + np.diag(factors.variance.flatten())


def dense_log_likelihood(factors: Factors, images: MaskedImages) -> float:
    mean, covariance = dense(factors)
    total = 0.0
    for x, seen in zip(*flat(images), strict=True):
        if seen.any():
            law = multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)])
            total += float(law.logpdf(x[seen]))
    return total


def flat(images: MaskedImages) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    observed = images.observed.expand(images.pixels.shape).flatten(1).numpy()
    return images.pixels.flatten(1).double().numpy() / 255, observed


def test_conditional_mean_is_the_dense_one() -> None:
    factors, images = drawn(), made_images(12)
    mean, covariance = dense(factors)
    found = factors.conditional_mean(images).flatten(1).numpy()
    for x, seen, ours in zip(*flat(images), found, strict=True):
        hidden = ~seen
        gain = covariance[np.ix_(hidden, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
        np.testing.assert_allclose(ours[hidden], mean[hidden] + gain @ (x[seen] - mean[seen]), atol=1e-10)


def test_log_likelihood_is_the_dense_one() -> None:
    factors, images = drawn(), made_images(12)
    _, _, log_likelihood = factors.posterior(images)
    assert float(log_likelihood.sum()) == pytest.approx(dense_log_likelihood(factors, images), rel=1e-10)
    assert float(log_likelihood[0]) == 0


def test_em_never_lowers_the_likelihood_and_ends_where_its_gradient_is_flat() -> None:
    factors, images = drawn(1), made_images(60)
    reached = [dense_log_likelihood(factors, images)]
    for _ in range(25):
        sums = factors.empty_sums()
        sums.add(factors, images)
        assert float(sums.log_likelihood) == pytest.approx(reached[-1], rel=1e-9)
        factors.maximise(sums)
        reached.append(dense_log_likelihood(factors, images))
    assert all(after >= before - 1e-9 for before, after in pairwise(reached))
    assert reached[-1] > reached[0] + 50
    for _ in range(1500):
        sums = factors.empty_sums()
        sums.add(factors, images)
        factors.maximise(sums)
    step = 1e-5
    for moved in (factors.mean, factors.loadings):
        place = (1, 3) if moved.dim() == 2 else (1, 3, 2)
        moved[place] += step
        above = dense_log_likelihood(factors, images)
        moved[place] -= 2 * step
        below = dense_log_likelihood(factors, images)
        moved[place] += step
        assert abs(above - below) / (2 * step) < 0.5


def test_batches_add_up() -> None:
    factors, images = drawn(), made_images(20)
    whole, parts = factors.empty_sums(), factors.empty_sums()
    whole.add(factors, images)
    for batch in images.batches(7):
        parts.add(factors, batch)
    for name in ("moments", "products", "squares", "log_likelihood", "pixel_counts"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
    assert parts.values == whole.values == int(images.observed.sum()) * CHANNELS


def test_a_known_law_is_found_again() -> None:
    """From many incomplete draws of a rank-1 law the fit must predict as the law itself does."""
    generator = torch.Generator().manual_seed(8)
    pattern = torch.linspace(-1, 1, 16).view(1, 1, 4, 4)
    code = torch.randn(4000, 1, 1, 1, generator=generator)
    noise = 0.02 * torch.randn(4000, 1, 4, 4, generator=generator)
    truth = (0.5 + 0.12 * code * pattern + noise).clamp(0, 1)
    observed = torch.rand(4000, 1, 4, 4, generator=generator) >= 0.6
    pixels = (truth * 255).round().to(torch.uint8)
    images = MaskedImages(pixels * observed, observed)
    context = FitContext()
    method = Gaussian(rank=1, iterations=300, tolerance=1e-9, floor=0.005)
    method.fit(images, context)
    found = method.factors.loadings[0, :, 0]
    expected = 0.12 * pattern.flatten() * float(torch.sign(found[-1]))
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
    assert float(method.factors.variance.mean()) == pytest.approx(0.02**2, rel=0.1)
    losses = [losses["negative log-likelihood"] for losses in context.facts["history"]]
    assert all(after <= before + 1e-6 for before, after in pairwise(losses))


def test_pixels_never_seen_stay_finite() -> None:
    images = made_images(30)
    blind = images.observed.clone()
    blind[..., 0] = False
    images = MaskedImages(images.pixels * blind, blind)
    method = Gaussian(rank=2, iterations=5)
    method.fit(images, FitContext())
    assert method.impute(images).isfinite().all()
    nothing = MaskedImages(torch.zeros_like(images.pixels), torch.zeros_like(blind))
    method.fit(nothing, FitContext())
    torch.testing.assert_close(method.impute(nothing), torch.full(images.pixels.shape, 0.5))


def test_many_values_of_little_variance_are_no_trouble() -> None:
    """Flat images: every value follows from the first observed one, and rounding could drown the rest."""
    generator = torch.Generator().manual_seed(0)
    brightness = torch.randint(0, 256, (60, 1, 1, 1), generator=generator, dtype=torch.uint8)
    complete = brightness.expand(60, 3, 64, 64)
    observed = torch.rand(60, 1, 64, 64, generator=generator) > 0.2
    images = MaskedImages(complete * observed, observed)
    method = Gaussian(rank=16, iterations=12)
    method.fit(images, FitContext())
    assert (method.impute(images) - complete / 255).abs().max() < 0.02


def test_the_start_has_the_observed_mean_and_variance() -> None:
    images = made_images(200)
    factors = start(images, RANK, 0.01, FitContext())
    values = images.pixels[:, 1, 2, 3].double()[images.observed[:, 0, 2, 3]] / 255
    assert float(factors.mean[1, 11]) == pytest.approx(float(values.mean()), rel=1e-5)
    assert float(factors.variance[1, 11]) == pytest.approx(float(values.var(correction=0)), rel=1e-5)


def test_real_digits_beat_the_mean_by_far() -> None:
    _, train = mnist("train", 600, rate=0.6)
    truth, test = mnist("t10k", 100, rate=0.6)
    errors: list[float] = []
    for method in (Mean(), Gaussian(rank=12, iterations=12)):
        method.fit(train, FitContext())
        filled: Tensor = method.impute(test)
        errors.append(rmse_on_missing(truth, test, filled))
    assert errors[1] < 0.85 * errors[0]
