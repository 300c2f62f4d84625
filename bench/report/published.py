"""The PRFlow paper's Tables 1-3, as numbers to compare with."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from importlib.resources import files

MECHANISM = "pixel"
SPELLING = {
    "misgan": "MisGAN",
    "pbigan": "PBiGAN",
    "mcflow": "MCFlow",
    "prflow": "PRFlow",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "celeba": "CelebA",
}


@dataclass(frozen=True)
class Published:
    """What a paper reports.

    Attributes:
        values: the number by (metric, dataset, method, rate).
        datasets, methods: in the paper's order.
    """

    values: dict[tuple[str, str, str, float], float] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()

    def value(self, metric: str, dataset: str, method: str, rate: float) -> float | None:
        return self.values.get((metric, dataset, method, rate))


def prflow_paper() -> Published:
    """Tables 1-3 of the PRFlow paper: rates 0.6 to 0.9, missing pixels drawn by `MECHANISM`.

    The file is `results/published/prflow-paper.csv`; the package reaches it through a link beside this
    module, which a wheel carries as a copy.
    """
    text = (files("bench.report") / "prflow-paper.csv").read_text(encoding="utf-8")
    values: dict[tuple[str, str, str, float], float] = {}
    for row in csv.DictReader(text.splitlines()):
        for name, value in row.items():
            if name.startswith("rate_") and value:
                rate = float(name.removeprefix("rate_"))
                values[row["metric"], row["dataset"], row["method"], rate] = float(value)
    datasets = tuple(dict.fromkeys(dataset for _, dataset, _, _ in values))
    methods = tuple(dict.fromkeys(method for _, _, method, _ in values))
    return Published(values, datasets, methods)
