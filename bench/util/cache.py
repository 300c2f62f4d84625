"""The cache folder: what bench can make again, it keeps there between runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

HASHES = "hashes.json"
"""The file of a folder that says what the others held when they were written."""


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


def is_as_written(folder: Path) -> bool:
    """Whether a folder holds the same as when `written_whole` filled it, nothing less and nothing more."""
    try:
        written = json.loads((folder / HASHES).read_text())
    except (OSError, ValueError):
        return False
    found = hashes_of(folder)
    found.pop(HASHES, None)
    return bool(written == found)


def make_read_only(path: Path) -> None:
    """Take the right to write to a file from everybody, against accidents: its owner can give it back."""
    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill in. It is moved to `folder` in one step when the block ends without an error.

    If another process was quicker, its folder stays and ours is deleted. The files are made read-only, and
    their hashes are kept beside them for `is_as_written`.
    """
    make_folder(folder.parent)
    # Made by hand, because `tempfile` lets nobody else read what it makes.
    draft = folder.parent / f".{folder.name}-{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        yield draft
        (draft / HASHES).write_text(json.dumps(hashes_of(draft), indent=1))
        # Without this, a crash of the machine could leave a complete folder of empty files.
        for file in draft.iterdir():
            make_read_only(file)
            with file.open("rb") as written:
                os.fsync(written.fileno())
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
