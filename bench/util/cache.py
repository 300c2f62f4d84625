"""The cache folder: what bench can make again, it keeps there between runs."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """The user's cache folder for bench, or `BENCH_CACHE` if that is set."""
    return Path(os.environ.get("BENCH_CACHE") or platformdirs.user_cache_dir("bench"))


def make_folder(folder: Path) -> None:
    """Make a folder, if there is none. Who may write the cache may write the folders in it too."""
    if folder.is_dir():
        return
    cache = cache_dir()
    if cache in folder.parents:
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        # If another user was quicker, the folder has its mode from there.
        with contextlib.suppress(PermissionError):
            folder.chmod(stat.S_IMODE(cache.stat().st_mode) & ~stat.S_ISVTX)
    else:
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill in. It is moved to `folder` in one step when the block ends without an error.

    If another process was quicker, its folder stays and ours is deleted.
    """
    make_folder(folder.parent)
    # Made by hand, because `tempfile` lets nobody else read what it makes.
    draft = folder.parent / f".{folder.name}-{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        yield draft
        # Without this, a crash of the machine could leave a complete folder of empty files.
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
