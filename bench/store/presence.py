"""A file in a folder says which process holds it, for file systems on which each machine has its own locks.

If a lock on one machine is seen on the others, the lock alone decides who holds the folder. If it is not seen
(sshfs; NFS and Lustre with local locks), this file decides: only one process can create it, and the holder
changes it every few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.util.files import open_regular, read_regular
from bench.util.processes import STOP_SECONDS

BEAT_SECONDS = 5.0
LARGEST_BYTES = 10_000
SILENT_SECONDS = STOP_SECONDS + 3 * BEAT_SECONDS
"""After this time without a change, the holder and all processes that it started are gone."""
LOOK_SECONDS = 0.5


class Presence:
    """This process's mark on a folder that it has locked. One thread makes and uses it.

    Args:
        folder: must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / ".holder"
        # A lock is seen by all processes of one running system that reach the folder by the same mount.
        self._place = f"{socket.gethostname()} {_boot()} {folder.stat().st_dev} ".encode()
        self._mine = self._place + secrets.token_hex(8).encode()
        self._begun, self._beaten = False, 0.0
        self._over = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def begin(self, leaving: Callable[[], bool] = lambda: False) -> bool:
        """Mark the folder. False if another machine holds it.

        A mark of another machine may be left from a process that has ended. This waits until that is certain.

        Args:
            leaving: asked while this waits; if it returns True, the wait ends and the other keeps the folder.

        Raises:
            OSError: the folder cannot be written.
        """
        left = self._read()
        if left is not None:
            # We have the lock, so a holder at this place has ended.
            if not left.startswith(self._place) and not self._silent(left, leaving):
                return False
            if not self._take_away(left):
                return False
        try:
            file = self._file.open("xb", buffering=0)
        except OSError as error:
            # SFTP has no error of its own for a file that exists already.
            if error.errno in (errno.EEXIST, errno.EPERM):
                return False
            raise
        with file:
            try:
                file.write(self._content(0))
            except OSError:
                self._file.unlink()
                raise
        self._begun, self._beaten = True, _now()
        self._beats.start()
        return True

    def _take_away(self, left: bytes) -> bool:
        """Remove the mark that was read. False if another machine has replaced it: its mark stays."""
        aside = self._file.with_name(f".holder-{secrets.token_hex(8)}")
        try:
            self._file.rename(aside)
        except FileNotFoundError:
            return True
        taken = read_regular(aside, LARGEST_BYTES)
        if taken != left:
            # This is another mark than the one read: a machine took the folder over in between.
            aside.rename(self._file)
            return False
        aside.unlink()
        return True

    def end(self) -> None:
        """Remove the mark, if it is still ours."""
        self._over.set()
        self._beats.join()
        if (self._read() or b"").startswith(self._mine):
            with contextlib.suppress(OSError):
                self._file.unlink()

    @property
    def stands(self) -> bool:
        """Whether the folder is still ours. If this machine slept, another may have taken it over.

        A mark that somebody deleted, or moved away with the folder, is put back. If it was not changed for
        so long that another machine could have taken the folder over, and left it again, it is not.
        """
        left = self._read()
        if left is None and self._begun and _now() - self._beaten < SILENT_SECONDS:
            left = self._put_back()
        return (left or b"").startswith(self._mine)

    def _put_back(self) -> bytes | None:
        """Make the mark anew; the mark that stands then, since another process may be quicker."""
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("xb", buffering=0) as file:
                file.write(self._content(0))
        return self._read()

    @property
    def elsewhere(self) -> bool:
        """Whether another machine seems to hold the folder, judged by the clocks and without waiting."""
        left = self._read()
        if left is None or left.startswith(self._place):
            return False
        with contextlib.suppress(OSError):
            return time.time() - self._file.stat().st_mtime < SILENT_SECONDS
        return False

    def _silent(self, left: bytes, leaving: Callable[[], bool]) -> bool:
        """Whether the mark does not change for long enough. Only our own clock is used, as clocks differ."""
        until = time.monotonic() + SILENT_SECONDS
        while time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            if self._read() != left or leaving():
                return False
        return True

    def _beat(self) -> None:
        number = 0
        while not self._over.wait(BEAT_SECONDS):
            if not self.stands:
                continue
            number += 1
            # Written in place and with a fixed length: nobody reads half a mark, and no removed one returns.
            with contextlib.suppress(OSError), open_regular(self._file, "r+b") as file:
                file.write(self._content(number))
                self._beaten = _now()

    def _content(self, number: int) -> bytes:
        return self._mine + f" {number:09}\n".encode()

    def _read(self) -> bytes | None:
        try:
            return read_regular(self._file, LARGEST_BYTES)
        except OSError:
            return None


def _now() -> float:
    """Seconds of a clock that goes on while this machine sleeps, if it has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _boot() -> str:
    """An identifier of this running system, different after each start; "" if the system gives none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
