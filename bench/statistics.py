"""Intervals for scores that are ratios of sums over test images."""

from __future__ import annotations

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
    """The percentile interval: what leaves (1 - level) / 2 of the replicates on either side."""
    tail = (1 - level) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return float(low), float(high)
