"""The cache folder: what bench can make again, it keeps there between runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """The user's cache folder for bench, or `BENCH_CACHE` if that is set."""
    return Path(os.environ.get("BENCH_CACHE") or platformdirs.user_cache_dir("bench"))


def hashes_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file directly in a folder, by the file's name.

    A file that cannot be read has the hash "". A folder that is not there has no files.
    """
    if not folder.is_dir():
        return {}
    return {path.name: _hash_of(path) for path in sorted(folder.iterdir()) if path.is_file()}


def _hash_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill in. It is moved to `folder` in one step when the block ends without an error.

    If another process was quicker, its folder stays and ours is deleted.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
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
