"""The nearest observed pixel: the fill-in that MCFlow and PRFlow start from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.methods.nearest_pixel import nearest_fill


@dataclass
class Nearest(Imputer):
    """Every missing pixel takes the value of a nearest observed one, drawn among equals."""

    display_name = "Nearest pixel"
    baseline = True

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        self._seed = context.seed

    def impute(self, images: MaskedImages) -> Tensor:
        return nearest_fill(images, self._seed).float().div_(255)
