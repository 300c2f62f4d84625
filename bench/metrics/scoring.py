"""What a metric gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.problem.posing import PosedProblem


@dataclass(frozen=True, eq=False)
class Scoring:
    """One cell's imputed test images beside the complete ones.

    Attributes:
        truth: complete test images, uint8 (N, C, H, W).
        imputed: float32 (N, C, H, W) in [0, 1], with the observed pixels of the truth.
        observed: bool (N, 1, H, W).
        labels: of the test images, int64 (N,), or None.
        train_truth: complete training images, uint8 (M, C, H, W).
        fingerprint: of the complete pixels of the whole data set.
        dataset: its name. By it or by the fingerprint the judge is found.
        data_dir: the folder in which the data and a judge's weights are looked for.
        per_image: a metric stores each image's score here, (N,) under its name, for paired tests between
            methods. The metric must be a mean over test images, or order methods as such a mean does.
        features: a judge's features of the imputed images, (N, d), by the hash of its weights. FID stores
            them here for SCC, because computing them takes most of the time.
    """

    truth: NDArray[np.uint8]
    imputed: NDArray[np.float32]
    observed: NDArray[np.bool_]
    labels: NDArray[np.int64] | None
    train_truth: NDArray[np.uint8]
    fingerprint: str
    dataset: str
    data_dir: Path | None = None
    per_image: dict[str, NDArray[np.floating]] = field(default_factory=dict)
    features: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @cached_property
    def quantised(self) -> NDArray[np.uint8]:
        """The imputed images rounded to 256 levels, as a judge sees the complete ones."""
        return quantise(self.imputed)


def quantise(images: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Clip images to [0, 1] and round them to the nearest of 256 levels."""
    levels: NDArray[np.uint8] = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return levels


def scoring_of(posed: PosedProblem, imputed: Path, dataset: str, data_dir: Path | None) -> Scoring:
    """Open the truth, and paste the observed pixels over an imputation.

    Args:
        imputed: an .npy file of float32 (N, C, H, W).
        dataset: its name, by which the judge is found.

    Raises:
        BenchError: the imputation does not fit the problem, or is not finite.
        OSError, ValueError: its file cannot be read.
    """
    return Scoring(
        truth=posed.truth,
        imputed=paste(posed, np.lib.format.open_memmap(imputed, mode="r")),
        observed=posed.observed,
        labels=posed.labels,
        train_truth=posed.train_truth,
        fingerprint=posed.facts["fingerprint"],
        dataset=dataset,
        data_dir=data_dir,
    )


def paste(posed: PosedProblem, imputed: NDArray[np.float32]) -> NDArray[np.float32]:
    """m * x + (1 - m) * x_hat, clipped: (N, C, H, W), float32 in [0, 1].

    Raises:
        BenchError: the imputation does not fit the problem, or is not finite.
    """
    if not np.issubdtype(imputed.dtype, np.floating):
        raise BenchError(f"the imputation holds {imputed.dtype.name}, not floating-point numbers")
    if imputed.shape != posed.truth.shape:
        raise BenchError(f"the imputation is {imputed.shape}, the problem {posed.truth.shape}")
    if not np.isfinite(imputed).all():
        raise BenchError("the imputation holds NaN or infinite values")
    seen = posed.truth.astype(np.float32) / 255
    return np.where(posed.observed, seen, np.clip(imputed, 0, 1)).astype(np.float32)
