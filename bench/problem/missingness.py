"""Which pixels go missing: a mechanism draws `observed` from a rate, a seed and a size alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Mechanism = Callable[[int, int, int, float, int, str], NDArray[np.bool_]]


def pixel(count: int, height: int, width: int, rate: float, seed: int, split: str) -> NDArray[np.bool_]:
    """Each pixel is missing independently with probability `rate` (the paper's Section 4).

    The draws are the raw output of a counter-based generator, whose stream is the same on every machine and
    in every NumPy. The masks of one seed are nested: a pixel that is observed at a higher rate is observed at
    a lower one too.

    Args:
        count, height, width: how many images, and their size.
        rate: the fraction missing, in (0, 1).
        seed: the problem's seed.
        split: "train" or "test"; each has draws of its own.

    Returns:
        (count, 1, height, width), bool; True where the pixel is observed.
    """
    digest = hashlib.sha256(f"bench/pixel/{split}/{seed}".encode()).digest()
    generator = np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8"))
    size = count * height * width
    words = generator.random_raw((size + 1) // 2).astype("<u8").view("<u4")[:size]
    return (words >= np.uint32(min(round(rate * 2**32), 2**32 - 1))).reshape(count, 1, height, width)


MECHANISMS: dict[str, Mechanism] = {"pixel": pixel}
