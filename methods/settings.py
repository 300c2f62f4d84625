"""Ranges and presets that the settings of several methods share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Gt

Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
Weight = Annotated[float, Ge(0)]

Settings = Mapping[str, Any]


def on_photos(settings: Settings, preset: str = "") -> dict[str, Settings]:
    """The same settings for both data sets of photos: as `for_dataset` has it, or in a preset."""
    prefix = f"{preset}/" if preset else ""
    return {f"{prefix}cifar10": settings, f"{prefix}celeba": settings}
