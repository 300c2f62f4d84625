"""Biharmonic inpainting (Damelin and Hoang, 2018), by scikit-image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.methods.nearest_pixel import GREY


@dataclass
class Biharmonic(Imputer):
    """The smoothest surface through the image's own observed pixels: its bi-Laplacian is zero elsewhere."""

    display_name = "Biharmonic"
    citation = """@article{damelin2018surface,
  title = {On Surface Completion and Image Inpainting by Biharmonic Functions: Numerical Aspects},
  author = {Damelin, Steven B. and Hoang, N. S.},
  journal = {International Journal of Mathematics and Mathematical Sciences},
  year = {2018}
}"""
    baseline = True

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        """Nothing is learnt."""

    def impute(self, images: MaskedImages) -> Tensor:
        images = images.to("cpu")
        filled = images.values
        for image, observed in zip(filled, images.observed[:, 0], strict=True):
            if observed.any():
                smooth = inpaint_biharmonic(
                    image.numpy().astype(np.float64), ~observed.numpy(), channel_axis=0
                )
                image.copy_(torch.from_numpy(smooth).clamp_(0, 1))
            else:
                image.fill_(GREY / 255)
        return filled
