"""Random numbers that belong to an image: the same whichever images stand beside it, on any device.

A generator's draws depend on what was drawn before, so they would tie an image's imputation to the rest
of its batch. These come from a counter instead: SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014) over a key hashed from the image and the seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bench.images import MaskedImages


def _signed(value: int) -> int:
    """The int64 with the same 64 bits as value modulo 2**64."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


_STEP = _signed(0x9E3779B97F4A7C15)
_FACTORS = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)
_BITS = 24  # All that a float32 in [0, 1) can hold evenly.


def noise_for(images: MaskedImages, seed: int, shape: Sequence[int]) -> Tensor:
    """Uniform noise fixed by each image's observed pixels, its mask and the seed.

    Args:
        images: N incomplete images; what lies under missing pixels is not looked at.
        seed: any integer; different seeds give independent noise for the same images.
        shape: of one image's noise.

    Returns:
        (N, *shape), float32, multiples of 2**-24 in [0, 1), on the images' device; bit for bit the same
        on every device and in any batch. Needs 8 bytes of working memory an element, a few times over.
    """
    return _words(images, seed, shape).float() * 2.0**-_BITS


def normal_noise_for(images: MaskedImages, seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise, otherwise as `noise_for`.

    Returns:
        (N, *shape), float32, within 5.5 of 0. Devices may differ in the last bit.
    """
    # The middle of each of the 2**24 steps: symmetric, and never at 0 or 1, where the normal is infinite.
    centred = (_words(images, seed, shape).double() + 0.5) * 2.0 ** (1 - _BITS) - 1
    return torch.erfinv(centred).mul_(math.sqrt(2)).float()


def _words(images: MaskedImages, seed: int, shape: Sequence[int]) -> Tensor:
    """(N, *shape), int64 in [0, 2**24)."""
    counters = torch.arange(1, math.prod(shape) + 1, device=images.device) * _STEP
    words = _mix(_keys(images, seed)[:, None] + counters)
    return _shift(words, 64 - _BITS).view(len(images), *shape)


def _keys(images: MaskedImages, seed: int) -> Tensor:
    """(N,), int64: a hash of each image's observed pixels, its mask and the seed."""
    # 257 symbols a position: missing, or seen with one of 256 values.
    symbols = torch.where(images.observed, images.pixels.long() + 1, 0).flatten(1)
    positions = torch.arange(symbols.shape[1], device=images.device) * 257
    return _mix(_mix((positions + symbols) * _STEP).sum(1) + _signed(seed * _STEP))


def _mix(words: Tensor) -> Tensor:
    """SplitMix64's output function; int64 products wrap, as its unsigned ones do."""
    words = (words ^ _shift(words, 30)) * _FACTORS[0]
    words = (words ^ _shift(words, 27)) * _FACTORS[1]
    return words ^ _shift(words, 31)


def _shift(words: Tensor, places: int) -> Tensor:
    """Shift right and fill with zeros; int64's own shift fills with the sign."""
    return (words >> places) & ((1 << (64 - places)) - 1)
