"""SCC: whether a classifier that was trained on complete images recognises the imputed ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import Unavailable
from bench.judges.complete import of_complete
from bench.judges.finding import judge_for
from bench.metrics.scoring import Scoring
from bench.util.statistics import bootstrap_ratios, interval


def scc(right_imputed: NDArray[np.bool_], right_complete: NDArray[np.bool_]) -> float:
    """Semantic consistency: min(1, accuracy on imputed / accuracy on complete images).

    Args:
        right_imputed, right_complete: (N,), whether the judge is right about each image.

    Raises:
        Unavailable: the judge is wrong about every complete image.
    """
    if not right_complete.any():
        raise Unavailable("the judge is wrong about every complete test image; train it on this data set")
    return min(1.0, float(right_imputed.mean() / right_complete.mean()))


def score(scoring: Scoring) -> dict[str, Any]:
    """`value`, `low` and `high` of its 95 % interval by bootstrap over test images, and both accuracies.

    The score of an image is 1 if the judge is right about it, else 0.

    Raises:
        Unavailable: the data set has no labels, or its judge does not predict classes.
    """
    if scoring.labels is None:
        raise Unavailable(f"{scoring.dataset} has no labels, so there is no accuracy to compare")
    judge = judge_for(scoring.dataset, scoring.data_dir, scoring.fingerprint)
    judge.require_classes()
    complete = of_complete(judge, scoring.truth).classes
    assert complete is not None
    right_complete = complete == scoring.labels
    seen = scoring.features.pop(judge.metadata["weights"], None)
    predicted = judge.predict(scoring.quantised) if seen is None else judge.classify(seen)
    right_imputed = predicted == scoring.labels
    scoring.per_image["scc"] = right_imputed.astype(float)
    value = scc(right_imputed, right_complete)
    ratios = bootstrap_ratios(right_imputed.astype(float), right_complete.astype(float))
    low, high = interval(np.minimum(1, ratios))
    return {
        "value": value,
        "low": low,
        "high": high,
        "accuracy_imputed": float(right_imputed.mean()),
        "accuracy_complete": float(right_complete.mean()),
        "judge": judge.name,
        "weights": judge.metadata["weights"],
    }
