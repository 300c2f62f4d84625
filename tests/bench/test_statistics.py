"""Bootstrap intervals against the textbook's standard errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.statistics import bootstrap_ratios, interval


def test_interval_of_a_mean_is_the_textbook_one() -> None:
    """Mean plus or minus 1.96 s / sqrt(n), for the mean of many draws."""
    draws = np.random.default_rng(4).exponential(2.0, 2000)
    low, high = interval(bootstrap_ratios(draws, np.ones(2000), replicates=4000))
    margin = 1.96 * draws.std() / np.sqrt(2000)
    assert low == pytest.approx(draws.mean() - margin, abs=0.12 * margin)
    assert high == pytest.approx(draws.mean() + margin, abs=0.12 * margin)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of 300 samples of 200 Bernoulli(0.3) draws, 95 % give or take four standard errors."""
    generator = np.random.default_rng(8)
    covered = 0
    for _ in range(300):
        sample = (generator.random(200) < 0.3).astype(float)
        low, high = interval(bootstrap_ratios(sample, np.ones(200), replicates=300))
        covered += low <= 0.3 <= high
    assert 0.90 < covered / 300 < 0.99


def test_a_paired_ratio_is_steadier_than_an_unpaired_one() -> None:
    """Where numerator and denominator rise and fall together, their ratio hardly moves."""
    generator = np.random.default_rng(2)
    denominators = generator.exponential(1.0, 400)
    paired = bootstrap_ratios(0.7 * denominators, denominators)
    assert np.allclose(paired, 0.7)
    unpaired = bootstrap_ratios(0.7 * denominators[::-1], denominators)
    assert unpaired.std() > 0.01


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=2, max_size=30))
def test_replicates_stay_within_the_sample(values: list[float]) -> None:
    sample = np.array(values)
    ratios = bootstrap_ratios(sample, np.ones(len(sample)), replicates=50)
    assert len(ratios) == 50
    assert sample.min() - 1e-9 <= ratios.min() <= ratios.max() <= sample.max() + 1e-9


def test_the_same_draws_every_time() -> None:
    sample = np.arange(20.0)
    first = bootstrap_ratios(sample, np.ones(20))
    np.random.seed(99)
    assert np.array_equal(first, bootstrap_ratios(sample, np.ones(20)))


def test_percentiles_by_hand() -> None:
    """Of 0, 1, ..., 1000, 2.5 % lie below 25 and 2.5 % above 975."""
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))


def test_a_draw_without_denominator_is_left_out() -> None:
    """Two images, one of which counts: a quarter of the draws has none of it."""
    ratios = bootstrap_ratios(np.array([0.0, 1.0]), np.array([0.0, 1.0]), replicates=1000)
    assert np.all(ratios == 1)
    assert 700 < len(ratios) < 800
