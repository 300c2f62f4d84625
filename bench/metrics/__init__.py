"""The scores of a cell. A metric is a function that takes a Scoring and gives at least a "value"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.errors import Unavailable
from bench.metrics import fid, rmse, scc
from bench.metrics.scoring import Scoring

__all__ = ["METRICS", "Metric", "Scoring", "score_all"]

Metric = Callable[[Scoring], dict[str, Any]]

METRICS: dict[str, Metric] = {"rmse": rmse.score, "fid": fid.score, "scc": scc.score}


def score_all(scoring: Scoring) -> dict[str, dict[str, Any]]:
    """Every metric's scores by its name.

    One that is not available here has the value None and a "reason" on one line.
    """
    scores: dict[str, dict[str, Any]] = {}
    for name, metric in METRICS.items():
        try:
            scores[name] = metric(scoring)
        except Unavailable as error:
            scores[name] = {"value": None, "reason": str(error)}
    return scores
