"""Cells: a problem, a method and a preset; what they are called and where their results lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from bench.datasets import called, is_named, load
from bench.plugins.presets import DEFAULT_PRESET, PRESETS
from bench.plugins.registry import Description, Source
from bench.problem.posing import Problem
from bench.store.keys import key_of
from bench.util.text import file_name

PROTOCOL = 1
"""The version of the rules: masks, pasting, metrics. Raise it when a change gives a cell other numbers."""

LIKE_OWN_COLOUR = "cifar10"
"""The data set whose settings are taken for a user's own colour images. Methods do not know these images by
name, and their settings for unknown names are for grey digits."""


@dataclass(frozen=True)
class Cell:
    """One method with its settings on one problem.

    Attributes:
        problem: what is to be imputed.
        source, description: the method.
        preset: a name in `PRESETS`.
        overrides: settings given by the user, by name.
        asked: who asked for the cell, as its result records it: `suite` (its name and hash, or None), and
            `from` (for each option "command line", "suite", "environment" or "default"). No number depends
            on it.
    """

    problem: Problem
    source: Source
    description: Description
    preset: str
    overrides: Mapping[str, Any]
    asked: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def dataset(self) -> str:
        """What the data set is called."""
        return called(self.problem.dataset)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting's value. Raises BenchError if a user's own images cannot be read."""
        given = self.problem.dataset
        like = LIKE_OWN_COLOUR if not is_named(given) and _in_colour(given) else self.dataset
        return self.description.resolve(self.preset, like, self.overrides)

    @cached_property
    def path(self) -> Path:
        """Its folder below the results' root: dataset/mechanism-rate/method[@what differs]/seed-n."""
        differs = {name: str(value) for name, value in sorted(self.overrides.items())}
        if (self.problem.train, self.problem.test) != PRESETS[self.preset]:
            differs = {"train": str(self.problem.train), "test": str(self.problem.test)} | differs
        if self.preset != DEFAULT_PRESET:
            differs = {"preset": self.preset} | differs
        suffix = "@" + ",".join(f"{name}={value}" for name, value in differs.items()) if differs else ""
        return Path(
            file_name(self.dataset),
            file_name(f"{self.problem.mechanism}-{self.problem.rate:g}"),
            file_name(self.source.name + suffix),
            f"seed-{self.problem.seed}",
        )

    @property
    def title(self) -> str:
        """What people read while the cell runs: "mcflow@preset=smoke mnist pixel-0.8 seed 0"."""
        dataset, missing, method, _ = self.path.parts
        return f"{method} {dataset} {missing} seed {self.problem.seed}"

    def key(self, facts: Mapping[str, Any]) -> str:
        """A hash of all that the cell's numbers depend on: settings, posed problem, protocol, method's code.

        Args:
            facts: of the posed problem (`bench.problem.posing.facts_of`).
        """
        return key_of(
            protocol=PROTOCOL,
            source=self.description.source,
            settings=self.settings,
            seed=self.problem.seed,
            fingerprint=facts["fingerprint"],
            observed=facts["observed"],
        )

    def record(self) -> dict[str, Any]:
        """The cell as its result names it."""
        return {
            "method": self.source.name,
            "settings": dict(self.overrides),
            "dataset": self.dataset,
            "mechanism": self.problem.mechanism,
            "rate": self.problem.rate,
            "seed": self.problem.seed,
            "preset": self.preset,
        }


@lru_cache(maxsize=64)
def _in_colour(dataset: str) -> bool:
    return bool(load(dataset).train.shape[1] == 3)
