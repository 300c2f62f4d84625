"""The PRFlow paper's Tables 1-3, as numbers to compare with."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

MECHANISM = "pixel"


@dataclass(frozen=True)
class Published:
    """What a paper reports.

    Attributes:
        values: the number by (metric, dataset, method, rate).
        datasets, methods: how the paper spells each data set and method, in the paper's order.
    """

    values: Mapping[tuple[str, str, str, float], float] = field(default_factory=dict)
    datasets: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, str] = field(default_factory=dict)

    def value(self, metric: str, dataset: str, method: str, rate: float) -> float | None:
        return self.values.get((metric, dataset, method, rate))


@cache
def prflow_paper() -> Published:
    """Tables 1-3 of the PRFlow paper: rates 0.6 to 0.9, missing pixels drawn by `MECHANISM`.

    The file is `results/published/prflow-paper.csv`. The package reads it through a link beside this module.
    A wheel carries a copy instead of the link.
    """
    text = (files("bench.report") / "prflow-paper.csv").read_text(encoding="utf-8")
    values: dict[tuple[str, str, str, float], float] = {}
    datasets: dict[str, str] = {}
    methods: dict[str, str] = {}
    for row in csv.DictReader(text.splitlines()):
        datasets[row["dataset"]] = row["dataset_name"]
        methods[row["method"]] = row["method_name"]
        for name, value in row.items():
            if name.startswith("rate_") and value:
                rate = float(name.removeprefix("rate_"))
                values[row["metric"], row["dataset"], row["method"], rate] = float(value)
    return Published(values, datasets, methods)
