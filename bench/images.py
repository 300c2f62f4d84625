"""MaskedImages: all that a method ever sees of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MaskedImages:
    """N incomplete images of one size.

    Complete pixels may be given: a copy is kept, without what is missing. The truth cannot leak.

    Attributes:
        pixels: (N, C, H, W), uint8; 0 wherever the pixel is missing.
        observed: (N, 1, H, W), bool; True where the pixel is seen. One mask for all channels.

    Raises:
        ValueError: one is not a tensor, a shape or dtype is not as above, or the two disagree.
    """

    pixels: Tensor
    observed: Tensor

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "pixels", self.pixels * self.observed)

    @classmethod
    def trusted(cls, pixels: Tensor, observed: Tensor) -> MaskedImages:
        """As the constructor, for pixels that are 0 wherever they are missing already. Nothing is copied.

        A mapped file stays a mapped file, and batches of a fit cost nothing more.
        """
        images = object.__new__(cls)
        object.__setattr__(images, "pixels", pixels)
        object.__setattr__(images, "observed", observed)
        images._check()
        return images

    def _check(self) -> None:
        for name, given in (("pixels", self.pixels), ("observed", self.observed)):
            if not isinstance(given, Tensor):
                kind = f"{type(given).__module__}.{type(given).__name__}".removeprefix("builtins.")
                advice = "; convert it with torch.from_numpy" if kind == "numpy.ndarray" else ""
                raise ValueError(f"{name} must be a torch.Tensor, not {kind}{advice}")
        if self.pixels.dtype != torch.uint8 or self.pixels.dim() != 4:
            raise ValueError(f"pixels must be uint8 (N, C, H, W), not {describe(self.pixels)}")
        if self.observed.dtype != torch.bool or self.observed.dim() != 4:
            raise ValueError(f"observed must be bool (N, 1, H, W), not {describe(self.observed)}")
        count, _, height, width = self.pixels.shape
        if self.observed.shape != (count, 1, height, width):
            raise ValueError(
                f"pixels {tuple(self.pixels.shape)} and observed {tuple(self.observed.shape)} disagree"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: slice | Tensor) -> MaskedImages:
        """A subset, by slice or by an index tensor of shape (n,)."""
        return MaskedImages.trusted(self.pixels[index], self.observed[index])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    @property
    def device(self) -> torch.device:
        return self.pixels.device

    @property
    def values(self) -> Tensor:
        """(N, C, H, W), float32 in [0, 1]; 0 wherever the pixel is missing. A new tensor at each call."""
        return self.pixels.float().div_(255)

    def to(self, device: torch.device | str) -> MaskedImages:
        """The same images on another device."""
        return MaskedImages.trusted(self.pixels.to(device), self.observed.to(device))

    def batches(self, size: int) -> Iterator[MaskedImages]:
        """The images in order, `size` at a time; the last batch may be smaller."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def paste(self, imputed: Tensor) -> Tensor:
        """Put the observed pixels back over an imputation: m * x + (1 - m) * x_hat.

        Args:
            imputed: (N, C, H, W), floating point, in [0, 1].

        Returns:
            (N, C, H, W), of imputed's dtype and device.
        """
        return torch.where(self.observed, self.values.to(imputed.dtype), imputed)


def describe(tensor: Tensor) -> str:
    """Dtype and shape of a tensor, for an error message."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
