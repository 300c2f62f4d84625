"""Writes files in one step, reads only regular ones, and keeps logs small."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.util.cache import cache_dir, make_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOG_BYTES = 1_000_000
LAST_BYTES = 4_000
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM = (*_FULL, errno.EROFS)


class CannotWrite(BenchError):
    """The disk is full, or this user may not write there."""


def cannot_write(path: Path | str, error: OSError) -> CannotWrite:
    """The error, in words for the user."""
    cached = cache_dir() in Path(path).parents
    elsewhere = "set BENCH_CACHE to another folder" if cached else "choose another folder"
    # numpy says how many bytes it could not write, but not why.
    reason = error.strerror or f"the disk may be full ({error})"
    room = "make room there, or " if error.errno in _FULL or not error.strerror else ""
    return CannotWrite(f"cannot write {path}: {reason}; {room}{elsewhere}")


def expanded(path: Path | str) -> Path:
    """The path with "~" replaced.

    Raises:
        BenchError: it begins with "~" and a name that no user here has.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise BenchError(f"{path}: no user here has this name; write the whole path") from error


def open_regular(path: Path, mode: str = "rb", follow: bool = True) -> IO[bytes]:
    """Open a regular file, unbuffered if it is written. A pipe or a device never blocks this call.

    Args:
        mode: as for `open`; binary.
        follow: whether a link in the place of the file is followed.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    flags = os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)

    def opener(name: str, more: int) -> int:
        handle = os.open(name, flags | more, 0o666)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise irregular
        return handle

    irregular = OSError(errno.EINVAL, "not a regular file", str(path))
    try:
        return open(path, mode, -1 if mode == "rb" else 0, opener=opener)
    except OSError as error:
        # So the system refuses to write to a pipe that nobody reads, and to open a socket.
        if error.errno == errno.ENXIO:
            raise irregular from error
        raise


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a regular file.

    Args:
        limit: how many bytes it may have.

    Raises:
        OSError: as `open_regular`, or it is larger.
    """
    with open_regular(path) as file:
        content = b"" if os.fstat(file.fileno()).st_size > limit else file.read(limit + 1)
        if len(content) > limit or os.fstat(file.fileno()).st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))
    return content


def read_arrays(path: Path, names: Sequence[str], limit: int) -> list[NDArray[Any]]:
    """Some arrays of an .npz file, without Python objects.

    Args:
        limit: how many bytes the arrays may take in memory together; and the file on the disk.

    Raises:
        OSError: as `read_regular`.
        Exception: of nearly any kind, if the archive is damaged or foreign.
    """
    import numpy as np

    with open_regular(path) as file:
        too_large = OSError(errno.EFBIG, f"its arrays are larger than {limit:,} bytes", str(path))
        if os.fstat(file.fileno()).st_size > limit:
            raise too_large
        with np.load(file, allow_pickle=False) as stored:
            # What the archive says is the most that is unpacked, also if it lies.
            if sum(stored.zip.getinfo(f"{name}.npy").file_size for name in names) > limit:
                raise too_large
            arrays = [_array(stored, name) for name in names]
    return arrays


def _array(stored: np.lib.npyio.NpzFile, name: str) -> NDArray[Any]:
    """One array. Raises ValueError if it has no bytes a number: it could claim any count of them."""
    # With the suffix, no other member can be meant than the one whose size was looked at.
    array: NDArray[Any] = stored[f"{name}.npy"]
    if not array.dtype.itemsize:
        raise ValueError(f"{name} has no content")
    return array


def refuse_unwritable(folder: Path) -> None:
    """Make a folder if there is none, and try to make a file in it.

    Raises:
        CannotWrite: one of the two fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error


@contextlib.contextmanager
def telling_of_a_full_disk(place: Path) -> Iterator[None]:
    """Within it, the error of a full or read-only disk is a CannotWrite that names the file or `place`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise cannot_write(error.filename or place, error) from error


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a file beside `path`, sync it, and rename it into place.

    Raises:
        CannotWrite: the disk is full, or this user may not write there. The old file is then unchanged.
    """
    try:
        make_folder(path.parent)
        # Made by hand, because `tempfile` lets nobody else read what it makes, whatever the umask is.
        draft = path.parent / f".{path.name}-{secrets.token_hex(4)}"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_drafts(folder: Path) -> None:
    """Remove the drafts that a killed `write_atomically` left. No process may be writing in the folder."""
    for draft in folder.glob(".*.*-????????"):
        with contextlib.suppress(OSError):
            draft.unlink()


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, indented, without NaN or infinity, which JSON does not have."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


class CappedLog:
    """Appends to a file. Of a log that is too long, it keeps the beginning and the end.

    If the disk cannot take the log, only the log is lost.

    Attributes:
        last: the end of all that was written here.

    Args:
        path: the file. If earlier runs have filled more than half of its size, it is emptied first.
        size: how many bytes it may hold; a third of them are for the end.
    """

    def __init__(self, path: Path, size: int = LOG_BYTES) -> None:
        self.last = b""
        self._end_size = size // 3
        self._file: IO[bytes] | None = None
        with contextlib.suppress(OSError):
            full = path.exists() and path.stat().st_size > size // 2
            # Behind a link there could be any file of the user.
            self._file = open_regular(path, "wb" if full else "ab", follow=False)
        self._room = size - self._end_size - (self._file.tell() if self._file else 0)
        self._end: deque[bytes] = deque()
        self._held = 0
        self._dropped = 0

    def write(self, data: bytes) -> None:
        """Append some output."""
        self.last = (self.last + data)[-LAST_BYTES:]
        head, rest = data[: self._room], data[self._room :]
        self._put(head)
        self._room -= len(head)
        if not rest:
            return
        self._end.append(rest)
        self._held += len(rest)
        while self._held - len(self._end[0]) >= self._end_size:
            self._dropped += len(self._end[0])
            self._held -= len(self._end.popleft())

    def close(self) -> None:
        """Write how much was left out, and then the end of what did not fit."""
        end = b"".join(self._end)
        kept = end[-self._end_size :]
        self._dropped += len(end) - len(kept)
        if self._dropped:
            self._put(f"\n... {self._dropped:,} bytes left out ...\n".encode())
        self._put(kept)
        if self._file is not None:
            self._file.close()

    def _put(self, data: bytes) -> None:
        if self._file is not None and data:
            with contextlib.suppress(OSError):
                self._file.write(data)
