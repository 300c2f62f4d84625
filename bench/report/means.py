"""The mean of each metric over the seeds of one method at one rate, for tables, curves and rankings alike."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

LINE = ("dataset", "method", "settings")
"""What the results of one row of a table agree on."""

Means = dict[tuple[str, str, str, str, float], "Mean"]
"""By metric, data set, method, settings and rate; without those that have no number."""


@dataclass(frozen=True)
class Mean:
    """The numbers of one metric, method and rate over its seeds.

    Attributes:
        values: one a seed, at least one.
        stored: the stored 95 % interval of the first value; None if there is none.
    """

    values: tuple[float, ...]
    stored: tuple[float, float] | None

    @cached_property
    def value(self) -> float:
        return statistics.fmean(self.values)

    @cached_property
    def spread(self) -> float | None:
        """The standard deviation over seeds; None with one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval: with one seed the stored one, if any; with several, by Student's t over them."""
        if len(self.values) == 1:
            return self.stored
        from bench.util.statistics import mean_interval

        return mean_interval(self.values)


def means(frame: pd.DataFrame) -> Means:
    """The mean over seeds of each metric, method and rate.

    Args:
        frame: as `bench.store.frame.tidy` makes it, of one mechanism and preset.
    """
    rows = frame.dropna(subset="value").groupby(["metric", *LINE, "rate"], sort=False)
    found = rows.agg(values=("value", tuple), low=("low", "first"), high=("high", "first"))
    stored = [
        None if pd.isna(low) or pd.isna(high) else (low, high)
        for low, high in zip(found["low"], found["high"], strict=True)
    ]
    return dict(zip(found.index, map(Mean, found["values"], stored), strict=True))
