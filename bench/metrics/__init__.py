"""The scores of a cell: RMSE, FID, SCC, and those that plugins register as "bench.metrics".

A metric is a function that takes a Scoring and returns a dict with at least a "value".
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.metadata import EntryPoint, entry_points
from math import isfinite
from typing import Any

import numpy as np

from bench.errors import BenchError, Unavailable
from bench.metrics.scoring import Scoring
from bench.store.results import Metric as StoredMetric
from bench.util.files import CannotWrite

__all__ = ["BUILT_IN", "GROUP", "Metric", "Scoring", "registered", "score_all"]

GROUP = "bench.metrics"

Metric = Callable[[Scoring], dict[str, Any]]

BUILT_IN = ("rmse", "fid", "scc")


def registered() -> dict[str, EntryPoint]:
    """The metrics of installed plugins by name, without importing them.

    Raises:
        BenchError: a name is used twice.
    """
    origins = {name: f"bench.metrics.{name}" for name in BUILT_IN}
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        origin = origins.setdefault(entry.name, entry.value)
        if origin != entry.value:
            raise BenchError(
                f"two metrics are named {entry.name!r}: {origin} and {entry.value}; uninstall one of them"
            )
        found[entry.name] = entry
    return found


def score_all(scoring: Scoring) -> dict[str, dict[str, Any]]:
    """The scores of every metric, by its name.

    A metric has the value None and a "reason" on one line if it is not available here, if it lacks its judge,
    or if it is a plugin's and fails.

    Raises:
        CannotWrite: the disk is full.
        BenchError: a name is used twice.
    """
    plugins = registered()
    scores: dict[str, dict[str, Any]] = {}
    for name in BUILT_IN:
        # Imported only now: judges take seconds to import, and a cell that failed needs none.
        metric: Metric = importlib.import_module(f"bench.metrics.{name}").score
        try:
            scores[name] = metric(scoring)
        except CannotWrite:
            raise
        except (BenchError, Unavailable) as error:
            scores[name] = {"value": None, "reason": str(error)}
    shared = _read_only(scoring)
    for name, entry in plugins.items():
        own = replace(shared, per_image={})
        scores[name] = _score_by_plugin(entry, own)
        if scores[name]["value"] is not None and name in own.per_image:
            scoring.per_image[name] = own.per_image[name]
    return scores


def _read_only(scoring: Scoring) -> Scoring:
    """The same arrays, made read-only: a metric that changed one would spoil the next metric's scores."""
    views: dict[str, Any] = {}
    for field in fields(scoring):
        value = getattr(scoring, field.name)
        if isinstance(value, np.ndarray):
            views[field.name] = value.view()
            views[field.name].flags.writeable = False
    return replace(scoring, **views)


def _score_by_plugin(entry: EntryPoint, scoring: Scoring) -> dict[str, Any]:
    try:
        metric: Metric = entry.load()
        scores = _checked(metric(scoring))
        _check_per_image(scoring, entry.name)
        return scores
    except Unavailable as error:
        return {"value": None, "reason": str(error)}
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{entry.value} fails with {type(error).__name__}: {error}".split())
        return {"value": None, "reason": reason}


def _check_per_image(scoring: Scoring, name: str) -> None:
    """Check that the scores of single images, if a plugin gave any, are a finite number for each image.

    Raises:
        TypeError, ValueError: they are not.
    """
    if name in scoring.per_image:
        values = scoring.per_image[name] = np.asarray(scoring.per_image[name], dtype=np.float64)
        if values.shape != (len(scoring.truth),) or not np.isfinite(values).all():
            raise ValueError(f"its scores of single images must be {len(scoring.truth)} finite numbers")


def _checked(scores: Any) -> dict[str, Any]:
    """A plugin's scores, checked and ready to be stored.

    Raises:
        TypeError, ValueError: they are not a dict with a finite number "value", or JSON cannot hold them.
    """
    if not isinstance(scores, dict) or "value" not in scores:
        raise TypeError('a metric returns a dict with a "value"')
    value = float(scores["value"])
    if not isfinite(value):
        raise ValueError(f"its value is {value}")
    checked: dict[str, Any] = json.loads(json.dumps(scores | {"value": value}, allow_nan=False))
    StoredMetric.model_validate(checked)
    return checked
