"""Bootstrap intervals against the textbook's standard errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.report.significance import FEWEST_SEEDS
from bench.util.statistics import (
    against_chosen,
    bootstrap_ratios,
    interval,
    mean_interval,
    paired_p_value,
    rank,
)

DEMSAR = [
    (0.763, 0.768, 0.771, 0.798),
    (0.599, 0.591, 0.590, 0.569),
    (0.954, 0.971, 0.968, 0.967),
    (0.628, 0.661, 0.654, 0.657),
    (0.882, 0.888, 0.886, 0.898),
    (0.936, 0.931, 0.916, 0.931),
    (0.661, 0.668, 0.609, 0.685),
    (0.583, 0.583, 0.563, 0.625),
    (0.775, 0.838, 0.866, 0.875),
    (1.000, 1.000, 1.000, 1.000),
    (0.940, 0.962, 0.965, 0.962),
    (0.619, 0.666, 0.614, 0.669),
    (0.972, 0.981, 0.9751, 0.975),
    (0.957, 0.978, 0.946, 0.970),
]


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


@settings(max_examples=25)
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


def test_interval_of_a_mean_over_seeds_is_student_s() -> None:
    # 1, 2, 3: mean 2, s = 1, and t at 97.5 % with 2 degrees of freedom is 4.3027.
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx(
        (2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), rel=1e-4
    )


def test_paired_test_of_one_column_is_student_s() -> None:
    differences = np.array([[0.3], [0.1], [0.4], [-0.05]])
    assert paired_p_value(differences) == pytest.approx(stats.ttest_1samp(differences[:, 0], 0).pvalue)


def test_paired_test_of_seeds_that_all_agree_on_each_image_is_over_seeds_and_images() -> None:
    """By hand: rows (1, 3) and (2, 4): mean 2.5, S = 2 (0.5^2 + 0.5^2) = 1, I = 2 (1 + 1) = 4, R = 0.

    The variance is (1 + 4) / 4: t = 2.5 / sqrt(1.25) = 2.2361, with one degree of freedom.
    """
    p_value = paired_p_value(np.array([[1.0, 3.0], [2.0, 4.0]]))
    assert p_value == pytest.approx(2 * stats.t.sf(2.5 / 1.25**0.5, 1))


def alike(generator: np.random.Generator, methods: int, seeds: int, by_seed: float) -> np.ndarray:
    """(methods, seeds, 60): scores of methods that are alike; masks and fits move all images at once."""
    return (
        generator.normal(0, by_seed, (methods, seeds, 1))
        + generator.normal(0, 1, (methods, 1, 60))
        + generator.normal(0, 0.5, (methods, seeds, 60))
    )


@pytest.mark.parametrize("level", [0.05, 0.0042])
@pytest.mark.parametrize("by_seed", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("seeds", [FEWEST_SEEDS, 5])
def test_paired_test_errs_no_more_often_than_it_says(seeds: int, by_seed: float, level: float) -> None:
    """4,000 draws without a difference, at a plain level and at one of many methods' corrected ones."""
    generator = np.random.default_rng(1)
    drawn = [np.subtract(*alike(generator, 2, seeds, by_seed)) for _ in range(4000)]
    erred = np.mean([paired_p_value(one) < level for one in drawn])
    # Four standard errors.
    assert erred < level + 4 * (level / 4000) ** 0.5
    # Taken for independent, the same values would err far more often.
    assert np.mean([stats.ttest_1samp(one.ravel(), 0).pvalue < level for one in drawn[:500]]) > 2 * level


@pytest.mark.parametrize("methods", [4, 13])
def test_the_best_of_many_that_are_alike_is_seldom_told_from_any(methods: int) -> None:
    """The best by its numbers against each other one: in at most 5 of 100 tables does one lose its bold."""
    generator, wrong = np.random.default_rng(2), 0
    for _ in range(600):
        scores = alike(generator, methods, FEWEST_SEEDS, 0.5)
        best = scores.mean(axis=(1, 2)).argmin()
        others = [one for one in range(methods) if one != best]
        p_values = [paired_p_value(scores[best] - scores[other]) for other in others]
        wrong += min(against_chosen(p_values)) < 0.05
    assert wrong / 600 < 0.05


def test_what_differs_is_told_apart_with_few_seeds() -> None:
    """A difference of ten times what seeds and images move, among thirteen methods, three seeds."""
    generator, found = np.random.default_rng(4), 0
    for _ in range(100):
        differences = 1 + generator.normal(0, 0.01, (3, 1)) + generator.normal(0, 0.1, (3, 200))
        found += against_chosen([paired_p_value(differences)] * 12)[0] < 0.05
    assert found > 90


def test_correction_by_hand() -> None:
    """Three others, so four methods and six pairs."""
    assert against_chosen([0.001, 0.01, 0.5]) == pytest.approx([0.006, 0.06, 1.0])


def test_ranking_of_demsar_s_example() -> None:
    """Demsar, 2006, Table 6: four classifiers on 14 data sets, critical difference 1.25."""
    auc = np.array(DEMSAR)
    ranking = rank(auc, [f"data set {row}" for row in range(14)], lower_is_better=False)
    assert ranking.ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
    assert ranking.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert ranking.p_value == pytest.approx(stats.chi2.sf(9.28, 3), rel=0.01)


def test_ranking_without_ties_is_scipy_s_friedman() -> None:
    scores = np.random.default_rng(0).normal(size=(9, 5))
    p_value = stats.friedmanchisquare(*scores.T).pvalue
    assert rank(scores, [*"abcdefghi"], lower_is_better=True).p_value == pytest.approx(p_value)


def test_ranking_counts_a_data_set_once() -> None:
    """By hand: a has ranks (1, 2, 3) and (2, 1, 3), mean (1.5, 1.5, 3); b has (3, 1, 2)."""
    scores = np.array([[1.0, 2.0, 3.0], [2.0, 1.0, 3.0], [3.0, 1.0, 2.0]])
    ranking = rank(scores, ["a", "a", "b"], lower_is_better=True)
    assert ranking.ranks == pytest.approx((2.25, 1.25, 2.5))
    # q is 2.343 for three methods at 5 % (Demsar, Table 5a), and two data sets.
    assert ranking.critical_difference == pytest.approx(2.343 * (12 / 12) ** 0.5, abs=1e-3)
    assert ranking.p_value == pytest.approx(stats.chi2.sf(12 * 2 / 12 * (0.25**2 + 0.75**2 + 0.5**2), 2))


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95])
def test_ranking_of_methods_that_are_alike_seldom_says_otherwise(shared: float) -> None:
    """However much the rates of one data set agree."""
    generator, datasets = np.random.default_rng(3), [*"aaaabbbbccccdddd"]
    errs = 0
    for _ in range(400):
        common = np.repeat(generator.normal(size=(4, 9)), 4, axis=0)
        own = generator.normal(size=(16, 9))
        scores = shared**0.5 * common + (1 - shared) ** 0.5 * own
        errs += rank(scores, datasets, lower_is_better=True).p_value < 0.05
    assert errs / 400 < 0.07
