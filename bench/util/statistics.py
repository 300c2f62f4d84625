"""Intervals of scores, and tests between methods: over test images, over seeds, over problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REPLICATES = 1000
LEVEL = 0.95
SEED = 0


def bootstrap_ratios(
    numerators: NDArray[np.floating], denominators: NDArray[np.floating], replicates: int = REPLICATES
) -> NDArray[np.float64]:
    """The ratio sum(numerators) / sum(denominators) over images drawn anew with replacement.

    An image brings its numerator and its denominator along, so that two scores of the same images stay
    paired (Efron and Tibshirani, 1993, section 8). The draws depend on the number of images alone.

    Args:
        numerators, denominators: (N,), one entry an image.

    Returns:
        (replicates,). A draw whose denominators sum to zero is left out, so there may be fewer.
    """
    count = len(numerators)
    generator = np.random.default_rng(SEED)
    entries = np.stack([numerators, denominators]).astype(np.float64)
    sums = np.empty((replicates, 2))
    for replicate in range(replicates):
        times = np.bincount(generator.integers(0, count, count), minlength=count)
        sums[replicate] = entries @ times
    sums = sums[sums[:, 1] > 0]
    ratios: NDArray[np.float64] = sums[:, 0] / sums[:, 1]
    return ratios


def interval(replicates: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval: (1 - level) / 2 of the replicates lie below it, and as many above."""
    tail = (1 - level) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return float(low), float(high)


def mean_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """The interval of the mean of two or more values by Student's t."""
    from scipy.special import stdtrit

    mean, count = float(np.mean(values)), len(values)
    margin = stdtrit(count - 1, (1 + level) / 2) * float(np.std(values, ddof=1)) / count**0.5
    return mean - margin, mean + margin


def paired_p_value(differences: NDArray[np.floating]) -> float:
    """Whether the mean difference between two methods is zero, over images and seeds drawn at random.

    Both an image and a seed (masks and fit) move many of the differences at once, so they are random
    effects, crossed: with the mean squares of seeds S, images I and the rest R, the mean's variance is
    estimated by (S + max(I - R, 0)) / count (Dorfman, Berbaum and Metz, 1992, two treatments).

    The test is Student's t, with one degree of freedom fewer than seeds. Hillis (2007) has more degrees of
    freedom if images move the differences more than seeds do. But he estimates them from the same few seeds:
    far out in the tails, where many methods are compared, that test errs up to five times as often as it
    says. This one errs no more often than Student's test over the seeds' means, so never more often than it
    says.

    Args:
        differences: (S, N), a row a seed, a column an image; S at least 2. With N = 1 it is Student's
            paired test over seeds.

    Returns:
        The two-sided p-value.
    """
    from scipy.special import stdtr

    values = np.asarray(differences, dtype=np.float64)
    seeds, images = values.shape
    mean = values.mean()
    by_seed, by_image = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    rest = values - mean - by_seed[:, None] - by_image[None, :]
    seed_square = images * (by_seed**2).sum() / (seeds - 1)
    image_square = seeds * (by_image**2).sum() / max(1, images - 1)
    rest_square = (rest**2).sum() / ((seeds - 1) * max(1, images - 1))
    spread = seed_square + max(image_square - rest_square, 0.0)
    if spread <= 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(seeds - 1, -abs(mean) / (spread / values.size) ** 0.5))


def against_chosen(p_values: Sequence[float]) -> list[float]:
    """The p-values of one method against each other one, adjusted for having chosen it by its numbers.

    Whichever method is chosen, its tests are among those of all k (k - 1) / 2 pairs of k methods. So this is
    Bonferroni's correction for that many tests.
    """
    methods = len(p_values) + 1
    return [min(1.0, methods * (methods - 1) / 2 * p_value) for p_value in p_values]


@dataclass(frozen=True)
class Ranking:
    """Methods ranked over problems.

    Attributes:
        ranks: each method's mean rank, 1 the best; ties share the mean of their places. The mean over the
            problems of each data set, and then over data sets.
        p_value: of Friedman's test: how likely ranks are to lie this far apart if all methods are alike.
        critical_difference: of Nemenyi's test, which cannot tell two methods apart if their mean ranks differ
            by less.
    """

    ranks: tuple[float, ...]
    p_value: float
    critical_difference: float


def rank(
    scores: NDArray[np.floating], datasets: Sequence[str], lower_is_better: bool, level: float = LEVEL
) -> Ranking:
    """Rank methods over problems (Demsar, 2006, section 3.2.2, equations 6 and 7).

    Both tests assume independent problems, but the rates of one data set share its images. So a data set
    counts once, by its mean ranks. These vary no more than the ranks of a single problem, whose variance the
    equations use: the tests err at most as often as they say.

    Args:
        scores: (P, M), a row a problem, a column a method; M at least 3.
        datasets: (P,), the data set of each problem.
    """
    from scipy.special import chdtrc
    from scipy.stats import rankdata, studentized_range

    ranks = rankdata(scores if lower_is_better else -scores, axis=1)
    of = np.array(datasets)
    means = np.stack([ranks[of == dataset].mean(axis=0) for dataset in sorted(set(datasets))])
    count, methods = means.shape
    mean = means.mean(axis=0)
    # The variance of one method's mean rank, if all methods were alike.
    variance = methods * (methods + 1) / (12 * count)
    quantile = studentized_range.ppf(level, methods, np.inf) / 2**0.5
    return Ranking(
        tuple(float(one) for one in mean),
        float(chdtrc(methods - 1, ((mean - (methods + 1) / 2) ** 2).sum() / variance)),
        float(quantile * (2 * variance) ** 0.5),
    )
