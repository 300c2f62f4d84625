"""FID: how far the distribution of imputed images is from that of the complete ones.

Features come from torch-fidelity's extraction loop, with the data set's judge registered as its extractor.
Mean and covariance are in float64, as in torch-fidelity. The trace is computed from symmetric eigenvalues,
while torch-fidelity takes general ones: units of a judge that are always zero make the product of the
covariances singular, and its general eigenvalues can then become complex.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.classifiers import vision
from bench.errors import Unavailable
from bench.judges.complete import Moments, moments, of_complete
from bench.judges.finding import judge_for
from bench.judges.judge import Judge
from bench.metrics.scoring import Scoring

# torch-fidelity takes seconds to import, so each function that needs it loads it when called.

LAYER = "penultimate"
REFERENCE = "complete test images"
CHUNK = 5000
NOT_FINITE = "FID needs finite features; the judge's weights may be damaged"


class _Images(torch.utils.data.Dataset[Tensor]):
    """uint8 images (N, C, H, W), given to torch-fidelity one at a time."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.array(self.images[index]))


def register(judge: Judge) -> str:
    """Register a judge as a feature extractor of torch-fidelity. Returns its name there.

    `torch_fidelity.calculate_metrics(feature_extractor=NAME, ...)` then uses it like one of its own.
    """
    name = f"bench-{judge.name.lower()}-{judge.metadata['weights'].removeprefix('sha256:')[:16]}"
    fidelity = vision.load("torch_fidelity")
    if name in vision.load("torch_fidelity.registry").FEATURE_EXTRACTORS_REGISTRY:
        return name

    class JudgeExtractor(fidelity.FeatureExtractorBase):  # type: ignore[name-defined,misc]
        def __init__(self, name: str, features_list: list[str], **options: Any) -> None:
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return (LAYER,)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return LAYER

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: Tensor) -> tuple[Tensor]:
            return (torch.from_numpy(judge.features(images)),)

    fidelity.register_feature_extractor(name, JudgeExtractor)
    return name


def extract(judge: Judge, images: NDArray[np.uint8], batch_size: int = 250) -> NDArray[np.float64]:
    """(N, d): a judge's features of uint8 images (N, C, H, W), through torch-fidelity's loop."""
    utils = vision.load("torch_fidelity.utils")
    extractor = utils.create_feature_extractor(register(judge), [LAYER], cuda=False, verbose=False)
    features = np.empty((len(images), judge.dimensions))
    # The loop holds the features twice, in batches and joined, so it gets a part of the images at a time.
    for start in range(0, len(images), CHUNK):
        found = utils.get_featuresdict_from_dataset(
            _Images(images[start : start + CHUNK]),
            extractor,
            batch_size,
            cuda=False,
            save_cpu_ram=True,
            verbose=False,
        )
        features[start : start + CHUNK] = found[LAYER].numpy()
    return features


def fid(one: Moments, other: Moments) -> float:
    """Squared Frechet distance between normal distributions fitted to two sets of features.

    |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2)) (Heusel et al., 2017, equation 6). Where rounding
    would make it negative, it is 0.

    Raises:
        Unavailable: a set has no more samples than features, so that its covariance is singular; or features
            are not finite, or so large that the distance is not.
    """
    dimensions = len(one.mean)
    fewest = min(one.count, other.count)
    if fewest <= dimensions:
        raise Unavailable(
            f"FID on {dimensions} features needs more than {dimensions} images, not {fewest}; "
            f"take more test images"
        )
    if not all(np.isfinite(each).all() for each in (one.mean, one.covariance, other.mean, other.covariance)):
        raise Unavailable(NOT_FINITE)
    difference = one.mean - other.mean
    # S1 S2 and the symmetric R S2 R, where R R = S1, have the same eigenvalues.
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = np.linalg.eigvalsh(root @ other.covariance @ root)
    trace = np.sqrt(np.clip(product, 0, None)).sum()
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    distance = float(difference @ difference + traces - 2 * trace)
    # Of 0 and NaN, `max` would take 0: the best score that there is.
    if not isfinite(distance):
        raise Unavailable(NOT_FINITE)
    return max(0.0, distance)


def score(scoring: Scoring) -> dict[str, Any]:
    """`value`, `floor`, and the facts that a reader needs to compare them.

    The value is between imputed and complete test images. The floor is between complete test and complete
    training images: the score of perfect samples of the same distribution. If there are too few training
    images for a floor, `floor` is None and `floor_reason` says so.

    Raises:
        Unavailable: the data set has no judge, or there are too few images for its features.
    """
    judge = judge_for(scoring.dataset, scoring.data_dir, scoring.fingerprint)
    if len(scoring.truth) <= judge.dimensions:
        raise Unavailable(
            f"FID on {judge.dimensions} features of {judge.name} needs more than {judge.dimensions} test "
            f"images, not {len(scoring.truth)}; raise the size of the test set"
        )
    complete = of_complete(judge, scoring.truth).moments
    imputed = scoring.features[judge.metadata["weights"]] = extract(judge, scoring.quantised)
    return {
        "value": fid(moments(imputed), complete),
        **_floor(judge, complete, scoring),
        "reference": REFERENCE,
        "samples": len(scoring.truth),
        "floor_samples": len(scoring.train_truth),
        "judge": judge.name,
        "layer": judge.metadata["layer"],
        "normalisation": judge.metadata["normalisation"],
        "weights": judge.metadata["weights"],
    }


def _floor(judge: Judge, complete: Moments, scoring: Scoring) -> dict[str, Any]:
    """`floor`; or None, and why there is none."""
    if len(scoring.train_truth) <= judge.dimensions:
        reason = (
            f"the floor on {judge.dimensions} features of {judge.name} needs more than {judge.dimensions} "
            f"training images, not {len(scoring.train_truth)}"
        )
        return {"floor": None, "floor_reason": reason}
    return {"floor": fid(complete, of_complete(judge, scoring.train_truth).moments)}
