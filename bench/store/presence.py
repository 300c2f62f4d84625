"""Who holds a folder, told in a file: for file systems on which each machine has locks of its own.

Where locks reach from machine to machine they settle it. Where they do not (sshfs; NFS and Lustre with local
locks), the holder's file, which only one can create and which changes every few seconds, does.
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

from bench.util.processes import STOP_SECONDS

BEAT_SECONDS = 5.0
SILENT_SECONDS = STOP_SECONDS + 3 * BEAT_SECONDS
"""How long nothing is heard of a holder that is gone, and what it had started with it."""
LOOK_SECONDS = 0.5


class Presence:
    """This process's mark on a folder that it has locked; made and used by one thread.

    Args:
        folder: it must be there.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / ".holder"
        # Locks hold among the processes of one running system that reach the folder by one mount.
        self._place = f"{socket.gethostname()} {_boot()} {folder.stat().st_dev} ".encode()
        self._mine = self._place + secrets.token_hex(8).encode()
        self._over = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def begin(self, leaving: Callable[[], bool] = lambda: False) -> bool:
        """Mark the folder; False where another machine does. Waits while one that did may have ended.

        Args:
            leaving: asked while it waits; where it says yes, the other has the folder still.

        Raises:
            OSError: the folder cannot be written.
        """
        left = self._read()
        if left is not None:
            # The lock, which is ours, tells that a holder at this place has ended.
            if not left.startswith(self._place) and not self._silent(left, leaving):
                return False
            if not self._take_away(left):
                return False
        try:
            file = self._file.open("xb", buffering=0)
        except OSError as error:
            # SFTP has no word of its own for a file that is there already.
            if error.errno in (errno.EEXIST, errno.EPERM):
                return False
            raise
        with file:
            try:
                file.write(self._content(0))
            except OSError:
                self._file.unlink()
                raise
        self._beats.start()
        return True

    def _take_away(self, left: bytes) -> bool:
        """Remove a mark that was read; False where another machine was quicker, whose mark then stays."""
        aside = self._file.with_name(f".holder-{secrets.token_hex(8)}")
        try:
            self._file.rename(aside)
        except FileNotFoundError:
            return True
        taken = aside.read_bytes()
        if taken != left:
            # Not what was read but the mark of who took the folder over since.
            aside.rename(self._file)
            return False
        aside.unlink()
        return True

    def end(self) -> None:
        """Take the mark away, where it is ours."""
        self._over.set()
        self._beats.join()
        if self.stands:
            with contextlib.suppress(OSError):
                self._file.unlink()

    @property
    def stands(self) -> bool:
        """Whether the mark is ours still; this machine may have slept, and another taken the folder over."""
        return (self._read() or b"").startswith(self._mine)

    @property
    def elsewhere(self) -> bool:
        """Whether another machine seems to hold the folder; by the clocks, and without waiting."""
        left = self._read()
        if left is None or left.startswith(self._place):
            return False
        with contextlib.suppress(OSError):
            return time.time() - self._file.stat().st_mtime < SILENT_SECONDS
        return False

    def _silent(self, left: bytes, leaving: Callable[[], bool]) -> bool:
        """Whether the mark stays as it is for long enough, by our clock alone: machines disagree on time."""
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
            # In place and of one length, so that nobody reads half of it or brings back what was taken away.
            with contextlib.suppress(OSError), self._file.open("r+b", buffering=0) as file:
                file.write(self._content(number))

    def _content(self, number: int) -> bytes:
        return self._mine + f" {number:09}\n".encode()

    def _read(self) -> bytes | None:
        try:
            return self._file.read_bytes()
        except OSError:
            return None


def _boot() -> str:
    """What tells this running system from others of the same name; empty where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
