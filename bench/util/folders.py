"""Lists the folders below the results' root, also those on another disk that a link leads to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

CELL = "seed-"
"""How the name of a cell's own folder begins."""


def folders_below(
    root: Path, unseen: Callable[[OSError], object] | None = None
) -> Iterator[tuple[Path, list[str]]]:
    """Every folder from the root down, once, with the names of its files.

    Two kinds of links are not followed. A link to a folder in the root or above it would only lead to folders
    that are listed anyway. A link in the place of a cell's own folder could lead to anything, and what shows
    a cell prints the files in its folder.

    Args:
        unseen: called with the error of each folder that cannot be read.
    """
    top = Path(os.path.realpath(root))
    seen: set[str] = set()
    for place, names, files in os.walk(root, onerror=unseen, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = sorted(name for name in names if not _passed_over(Path(place, name), top))
        yield Path(place), files


def _passed_over(path: Path, top: Path) -> bool:
    """Whether a folder is a link that must not be followed."""
    if not path.is_symlink():
        return False
    there = Path(os.path.realpath(path))
    return path.name.startswith(CELL) or there.is_relative_to(top) or top.is_relative_to(there)
