"""Where what can be made again is kept between runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """The user's cache folder for bench, or `BENCH_CACHE` where that is set."""
    return Path(os.environ.get("BENCH_CACHE") or platformdirs.user_cache_dir("bench"))


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill in, which takes its place at `folder` only when the block ends well.

    Where another process was quicker, its folder stays and ours is dropped.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield draft
        # After a crash of the machine a whole folder of empty files would pass for what it is not.
        for file in draft.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
