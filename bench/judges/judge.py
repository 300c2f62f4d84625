"""A judge: a classifier with its weights, and what it sees of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.errors import Unavailable


@dataclass(frozen=True, eq=False)
class Judge:
    """A classifier with its weights.

    Attributes:
        model: a module of `classifiers`, in evaluation mode.
        metadata: `judge`, `layer`, `dimensions`, `normalisation`, `weights` (their hash), and for a
            trained judge `accuracy` and what the training recorded. With `resized_to`, images are first
            scaled to squares of so many pixels (bilinear, antialiased).
        has_classes: whether `predict` works.
    """

    model: nn.Module
    metadata: Mapping[str, Any]
    has_classes: bool = True
    device: torch.device = field(default_factory=lambda: best_device())

    def __post_init__(self) -> None:
        # Convolutions on a CPU are up to twice as fast where the channels of a pixel lie side by side.
        model: Any = self.model.to(self.device)
        model.to(memory_format=torch.channels_last).requires_grad_(False).eval()

    @property
    def name(self) -> str:
        name: str = self.metadata["judge"]
        return name

    @property
    def dimensions(self) -> int:
        dimensions: int = self.metadata["dimensions"]
        return dimensions

    @torch.inference_mode()
    def features(self, images: NDArray[np.uint8] | Tensor, batch_size: int = 250) -> NDArray[np.float64]:
        """(N, dimensions): what the last layer sees of uint8 images (N, C, H, W).

        In float32 everywhere: in bfloat16 the FID of an imputation moves by up to 0.03, and tables show four
        decimals.
        """
        of: Any = self.model.features
        features = np.empty((len(images), self.dimensions))
        starts = range(0, len(images), batch_size)
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            for start, batch in zip(starts, self._batches(images, batch_size), strict=True):
                features[start : start + batch_size] = of(batch).double().cpu().numpy()
        return features

    def predict(self, images: NDArray[np.uint8] | Tensor) -> NDArray[np.int64]:
        """(N,): the most likely class of each of uint8 images (N, C, H, W). Raises as `classify`."""
        return self.classify(self.features(images))

    def require_classes(self) -> None:
        """Refuse to judge classes if there are none.

        Raises:
            Unavailable: the judge knows no classes.
        """
        if not self.has_classes:
            raise Unavailable(f"{self.name} knows no classes, so images judged by it have no accuracy")

    @torch.inference_mode()
    def classify(self, features: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N,): the most likely class by features (N, dimensions). Raises as `require_classes`."""
        self.require_classes()
        output: Any = self.model.output
        classes: NDArray[np.int64] = (
            output(torch.from_numpy(features).float().to(self.device)).argmax(1).cpu().numpy()
        )
        return classes

    def _batches(self, images: NDArray[np.uint8] | Tensor, size: int) -> Any:
        if images.dtype not in (np.uint8, torch.uint8):
            raise TypeError(f"a judge takes uint8 images, not {images.dtype}")
        for start in range(0, len(images), size):
            # np.array copies: a read-only memory map would make torch warn.
            batch = images[start : start + size]
            pixels = batch if isinstance(batch, Tensor) else torch.from_numpy(np.array(batch))
            yield self._resized(pixels.to(self.device).float() / 255).contiguous(
                memory_format=torch.channels_last
            )

    def _resized(self, images: Tensor) -> Tensor:
        side = self.metadata.get("resized_to")
        if side is None:
            return images
        return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def best_device() -> torch.device:
    """A GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe(model: Any) -> dict[str, Any]:
    """What a classifier says of itself: `judge`, `layer`, `dimensions`, `normalisation`."""
    return {
        "judge": model.name,
        "layer": model.layer,
        "dimensions": model.dimensions,
        "normalisation": model.normalisation,
    }
