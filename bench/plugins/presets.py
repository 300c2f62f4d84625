"""The presets: how many images a cell takes, and how much training."""

from __future__ import annotations

from bench.errors import BenchError
from bench.util.text import unknown

PRESETS: dict[str, tuple[int | None, int | None]] = {
    "smoke": (1000, 600),
    "quick": (10_000, 2_000),
    "standard": (None, None),
    "paper": (None, None),
}
"""How many training and test images each preset takes; None means all."""

DEFAULT_PRESET = "quick"


def sizes_of(preset: str) -> tuple[int | None, int | None]:
    """How many training and test images a preset takes. Raises BenchError for an unknown preset."""
    if preset not in PRESETS:
        raise BenchError(unknown("preset", preset, PRESETS))
    return PRESETS[preset]
