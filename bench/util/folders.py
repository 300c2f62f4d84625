"""The folders below the results' root, also where a link leads to another disk."""

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

    Links are followed, but not those that lead into the root or around it, where the walk comes by or is
    already, nor those in the place of a cell's own folder: who shows a cell prints the files in it.

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
    """Whether a folder is a link that is not followed."""
    if not path.is_symlink():
        return False
    there = Path(os.path.realpath(path))
    return path.name.startswith(CELL) or there.is_relative_to(top) or top.is_relative_to(there)
