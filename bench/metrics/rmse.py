"""RMSE: how far the imputed pixels are from the true ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import Unavailable
from bench.metrics.scoring import Scoring
from bench.util.statistics import bootstrap_ratios, interval

CHUNK = 1024


def squared_errors(
    truth: NDArray[np.uint8], imputed: NDArray[np.floating], observed: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared errors of every image, summed over its missing pixels and all channels.

    Args:
        truth: uint8 (N, C, H, W).
        imputed: (N, C, H, W), clipped to [0, 1] before it is compared.
        observed: bool (N, 1, H, W).

    Returns:
        (N,) sums of squared errors on the scale [0, 1], and (N,) counts of missing values.
    """
    count, channels = truth.shape[:2]
    sums = np.empty(count)
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        errors = np.clip(imputed[part].astype(np.float64), 0, 1) - truth[part] / 255
        sums[part] = np.where(observed[part], 0, errors**2).sum(axis=(1, 2, 3))
    missing = channels * (~observed).sum(axis=(1, 2, 3)).astype(np.float64)
    return sums, missing


def rmse(sums: NDArray[np.float64], missing: NDArray[np.float64]) -> float:
    """Root of the mean squared error over all missing values of all images, on the scale [0, 1].

    Args:
        sums, missing: what `squared_errors` returns.

    Raises:
        Unavailable: no pixel is missing.
    """
    if not missing.sum():
        raise Unavailable("no test pixel is missing, so there is no error to measure; raise the rate")
    return float(np.sqrt(sums.sum() / missing.sum()))


def score(scoring: Scoring) -> dict[str, Any]:
    """`value`, and `low` and `high` of its 95 % interval by bootstrap over test images.

    The score of an image is its squared error divided by the mean number of missing values. The mean of these
    scores is then the square of the RMSE.
    """
    sums, missing = squared_errors(scoring.truth, scoring.imputed, scoring.observed)
    value = rmse(sums, missing)
    scoring.per_image["rmse"] = sums / missing.mean()
    low, high = interval(np.sqrt(bootstrap_ratios(sums, missing)))
    return {"value": value, "low": low, "high": high}
