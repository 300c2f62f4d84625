"""FID against closed forms, general eigenvalues, and torch-fidelity's own command."""

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.classifiers import vision
from bench.errors import Unavailable
from bench.judges.complete import moments
from bench.metrics import Scoring, fid
from bench.metrics.scoring import quantise
from tests.bench.judges.patches import patches
from tests.real import mnist_pixels


def by_general_eigenvalues(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The textbook's formula with covariances by hand and eigenvalues of the product from LAPACK's geev."""
    means = [each.sum(0) / len(each) for each in (first, second)]
    covariances = [
        (each - mean).T @ (each - mean) / (len(each) - 1)
        for each, mean in zip((first, second), means, strict=True)
    ]
    eigenvalues = scipy.linalg.eigvals(covariances[0] @ covariances[1])
    trace = np.sqrt(eigenvalues.astype(complex)).real.sum()
    gap = ((means[0] - means[1]) ** 2).sum()
    return float(gap + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * trace)


def distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return fid.fid(moments(first), moments(second))


def with_moments(mean: NDArray[Any], covariance: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Samples whose mean and covariance are these, exactly."""
    draws = np.random.default_rng(7).normal(size=(count, len(mean)))
    draws -= draws.mean(0)
    white = draws @ np.linalg.inv(np.linalg.cholesky(np.cov(draws, rowvar=False))).T
    exact: NDArray[np.float64] = white @ np.linalg.cholesky(covariance).T + mean
    return exact


def test_by_hand() -> None:
    """Means (0, 0) and (3, 4); deviations (1, 2) and (3, 1): 25 + (3 - 1)^2 + (2 - 1)^2 = 30."""
    first = with_moments(np.zeros(2), np.diag([1.0, 4.0]), 10)
    second = with_moments(np.array([3.0, 4.0]), np.diag([9.0, 1.0]), 15)
    assert distance(first, second) == pytest.approx(30, rel=1e-10)


def test_closed_form_where_the_covariances_share_their_axes() -> None:
    """Then the distance is |m1 - m2|^2 plus the squared differences of the deviations."""
    generator = np.random.default_rng(1)
    axes = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    deviations = generator.uniform(0.1, 3, (2, 6))
    means = generator.normal(size=(2, 6))
    first, second = (
        with_moments(mean, axes * deviation**2 @ axes.T, 40)
        for mean, deviation in zip(means, deviations, strict=True)
    )
    expected = ((means[0] - means[1]) ** 2).sum() + ((deviations[0] - deviations[1]) ** 2).sum()
    assert distance(first, second) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_agrees_with_general_eigenvalues(seed: int, dimensions: int) -> None:
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(2, dimensions, dimensions))
    first = generator.normal(size=(60, dimensions)) @ mixing[0] + 1
    second = generator.exponential(size=(45, dimensions)) @ mixing[1]
    value = distance(first, second)
    assert value == pytest.approx(by_general_eigenvalues(first, second), rel=1e-6, abs=1e-6)
    assert value == pytest.approx(distance(second, first), rel=1e-6, abs=1e-6)


def test_a_dead_unit_adds_nothing() -> None:
    """A feature that is always zero makes both covariances singular, and leaves the distance as it was."""
    generator = np.random.default_rng(3)
    first, second = generator.normal(size=(2, 50, 4)) * [[[1.0]], [[2.0]]]
    dead = np.zeros((50, 1))
    with_dead = distance(np.hstack([first, dead]), np.hstack([second, dead]))
    assert with_dead == pytest.approx(distance(first, second), rel=1e-7)


def test_a_set_is_at_no_distance_from_itself() -> None:
    features = np.random.default_rng(5).normal(size=(100, 10)) * 50
    assert 0 <= distance(features, features[::-1]) < 1e-6


@given(st.integers(0, 10**6))
def test_rounding_makes_no_distance_negative(seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(30, 8)) * 1e3
    assert distance(features, features[::-1] * (1 + 1e-15)) >= 0


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e200])
def test_features_without_a_distance_are_no_perfect_score(value: float) -> None:
    features = np.random.default_rng(6).normal(size=(30, 3))
    spoilt = features.copy()
    spoilt[4, 1] = value
    with np.errstate(all="ignore"), pytest.raises(Unavailable, match="FID needs finite features"):
        distance(spoilt, features)


def test_statistics_are_taken_in_double_precision() -> None:
    """Far from zero, sums in float32 would lose the spread."""
    features = np.random.default_rng(5).normal(size=(2000, 3))
    near = distance(features[:1000], 2 * features[1000:])
    assert distance(features[:1000] + 1e5, 2 * features[1000:] + 1e5) == pytest.approx(near, rel=1e-4)


def test_statistics_hold_no_second_copy_of_the_features() -> None:
    features = np.random.default_rng(5).normal(size=(100_000, 16))
    tracemalloc.start()
    distance(features, features)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < features.nbytes / 4


@pytest.mark.parametrize("count", [2, 16])
def test_too_few_images_are_refused(count: int) -> None:
    features = np.random.default_rng(0).normal(size=(40, 16))
    for first, second in ((features[:count], features), (features, features[:count])):
        with pytest.raises(Unavailable, match=rf"more than 16 images, not {count}"):
            distance(first, second)
    assert distance(features[:17], features) > 0


def test_torch_fidelity_knows_the_judge_and_agrees() -> None:
    """Its own command, with our judge registered, gives what we report."""
    truth = mnist_pixels("t10k", 60).numpy()
    other = mnist_pixels("train", 60).numpy() // 2
    own = vision.load("torch_fidelity").calculate_metrics(
        input1=fid._Images(other),
        input2=fid._Images(truth),
        feature_extractor=fid.register(patches()),
        fid=True,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    ours = distance(fid.extract(patches(), other), fid.extract(patches(), truth))
    assert ours == pytest.approx(own["frechet_inception_distance"], rel=1e-6)


def test_extraction_keeps_the_order() -> None:
    images = mnist_pixels("t10k", 23).numpy()
    blocks = images.reshape(23, 4, 7, 4, 7).mean(axis=(2, 4)).reshape(23, 16) / 255
    assert np.allclose(fid.extract(patches(), images, batch_size=5), blocks, atol=1e-6)


def test_score_says_what_it_was_measured_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(fid, "judge_for", lambda *_: patches())
    truth, train = mnist_pixels("t10k", 40).numpy(), mnist_pixels("train", 50).numpy()
    imputed = (truth / 255).astype(np.float32)
    observed = np.zeros((40, 1, 28, 28), bool)
    perfect = fid.score(Scoring(truth, imputed, observed, None, train, "sha256:0", "mnist"))
    assert perfect["value"] == pytest.approx(0, abs=1e-8)
    blocks = [
        images.reshape(-1, 4, 7, 4, 7).mean(axis=(2, 4)).reshape(-1, 16) / 255 for images in (truth, train)
    ]
    assert perfect["floor"] == pytest.approx(by_general_eigenvalues(*blocks), rel=1e-4)
    assert (perfect["samples"], perfect["floor_samples"]) == (40, 50)
    assert {"judge", "layer", "normalisation", "weights", "reference"} <= perfect.keys()
    again = fid.score(Scoring(truth, imputed, observed, None, train, "sha256:0", "mnist"))
    assert again == perfect
    few = Scoring(truth[:16], imputed[:16], observed[:16], None, train, "sha256:0", "mnist")
    with pytest.raises(Unavailable, match="16 features of Patches"):
        fid.score(few)
    floorless = Scoring(truth, imputed, observed, None, train[:16], "sha256:0", "mnist")
    scores = fid.score(floorless)
    assert scores["value"] == perfect["value"] and scores["floor"] is None
    assert scores["floor_reason"] == (
        "the floor on 16 features of Patches needs more than 16 training images, not 16"
    )


def test_quantising_rounds_to_the_nearest_level() -> None:
    levels = np.arange(256)
    for nudge in (-0.49, 0.0, 0.49):
        assert np.array_equal(quantise((levels + nudge) / 255), levels)
    assert quantise(np.array([-1.0, 2.0])).tolist() == [0, 255]


def test_score_compares_what_was_imputed_rounded_to_grey_levels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(fid, "judge_for", lambda *_: patches())
    truth, other = mnist_pixels("t10k", 40).numpy(), mnist_pixels("train", 40).numpy() // 2 + 1
    blocks = [
        images.reshape(-1, 4, 7, 4, 7).mean(axis=(2, 4)).reshape(-1, 16) / 255 for images in (other, truth)
    ]
    for offset in (-0.4, 0.4):
        imputed = ((other + offset) / 255).astype(np.float32)
        found = fid.score(
            Scoring(truth, imputed, np.zeros((40, 1, 28, 28), bool), None, truth, "sha256:0", "mnist")
        )
        assert found["value"] == pytest.approx(by_general_eigenvalues(*blocks), rel=1e-4)
