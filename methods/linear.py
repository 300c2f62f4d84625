"""Linear interpolation between observed pixels, on the Delaunay triangulation of their places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.methods.nearest_pixel import nearest_fill


@dataclass
class Linear(Imputer):
    """Linear interpolation between the image's own observed pixels; outside them, a nearest pixel."""

    display_name = "Linear interpolation"
    baseline = True

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        self._seed = context.seed

    def impute(self, images: MaskedImages) -> Tensor:
        images = images.to("cpu")
        filled = nearest_fill(images, self._seed).float().div_(255)
        for image, pixels, observed in zip(filled, images.pixels, images.observed[:, 0], strict=True):
            interpolate(image.numpy(), pixels.numpy(), observed.numpy())
        return filled


def interpolate(filled: NDArray[np.float32], pixels: NDArray[np.uint8], observed: NDArray[np.bool_]) -> None:
    """Write the interpolation over `filled` wherever a triangle of observed pixels covers a missing one.

    Args:
        filled: (C, H, W), changed in place; left as it is where the observed pixels lie on one line, or
            there are none.
        pixels: (C, H, W); observed: (H, W).
    """
    if not observed.any():
        return
    try:
        plane = LinearNDInterpolator(np.argwhere(observed), pixels[:, observed].T / 255)
    except QhullError:
        return
    missing = ~observed
    values = plane(np.argwhere(missing)).T
    filled[:, missing] = np.where(np.isnan(values), filled[:, missing], values.clip(0, 1))
