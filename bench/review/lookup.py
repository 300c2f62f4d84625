"""Finding one stored cell by what a user calls it."""

from __future__ import annotations

import difflib
from pathlib import Path

from bench.errors import BenchError
from bench.review.status import cell_folders
from bench.util.files import expanded
from bench.util.text import clean


def find_cell(given: str, root: Path) -> Path:
    """The folder of a stored cell.

    Args:
        given: its folder or its `result.json`, anywhere; or dataset/mechanism-rate/method/seed-n below
            the results' root.
        root: the results' root.

    Raises:
        BenchError: there is no such cell; the message offers the nearest one.
    """
    path = expanded(given)
    folder = path.parent if path.name == "result.json" else path
    if is_cell(folder):
        return folder
    below = root / folder
    # Neither a ".." in the name nor a link in the place of the cell's own folder may lead out of the results.
    if is_cell(below) and below.resolve().is_relative_to(root.resolve()):
        return below
    found = [*cell_folders(root)]
    if below in found:
        return below
    known = sorted("/".join(one.relative_to(root).parts) for one in found)
    near = difflib.get_close_matches(given.strip("/"), known, n=1)
    if near:
        raise BenchError(f"no cell {clean(given)!r} below {root}; did you mean {clean(near[0])!r}?")
    hint = "`bench status` lists them" if known else "there are none"
    raise BenchError(f"no cell {clean(given)!r} below {root}; {hint}")


def is_cell(folder: Path) -> bool:
    """Whether a folder holds something of a cell: its result, or what a run leaves before there is one."""
    return any((folder / name).is_file() for name in ("result.json", "log.txt", ".lock"))
