"""Settings with bounds and choices."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from bench.imputer import Imputer


@dataclass
class Mine(Imputer):
    epochs: Annotated[int, Ge(1)] = 5
    loss: Literal["l1", "l2"] = "l1"
    presets = {"smoke": {"epochs": 2}}

    def fit(self, train, context): ...
    def impute(self, images):
        return images.values
