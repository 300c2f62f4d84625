"""The limits of a method's process: how long it may take, and how much memory it may hold."""

from __future__ import annotations

import math
import resource
import time
from pathlib import Path

from bench.run.events import MethodOutcome
from bench.util.process_tree import held_bytes, resident_bytes
from bench.util.processes import Child

STARTUP_SECONDS = 600.0
"""How long a method's process may take to begin: packages on a network file system load slowly."""


def grace(timeout: float) -> float:
    """How many seconds past its deadline a method may take to stop by itself and to impute."""
    return min(60.0, max(5.0, timeout))


class Limits:
    """Ends the method's process when it is late or holds too much memory.

    Attributes:
        outcome: why the process was ended; None if it was not.

    Args:
        method: the process.
        timeout: how many seconds the fit may take; None for no limit.
        memory: GB that the method's processes may hold together; None for no limit.
    """

    def __init__(self, method: Child, timeout: float | None, memory: float | None) -> None:
        self._method = method
        self._seconds = math.inf if timeout is None else timeout + grace(timeout)
        self._latest = time.monotonic() + STARTUP_SECONDS + self._seconds
        self._begun: float | None = None
        self._fitted: float | None = None
        self._bytes = math.inf if memory is None else memory * 1e9
        self.outcome: MethodOutcome | None = None

    def begin(self) -> None:
        """Start the clock: the fit begins now. What came before, as slow as its disk, is not the method's."""
        self._begun = time.monotonic()
        self._latest = self._begun + self._seconds

    def fitted(self) -> None:
        """Note that the fit is over. If the process is late from now on, the imputation took the time."""
        self._fitted = time.monotonic()

    def _why_late(self) -> str:
        """Which part of the process took the time."""
        now = time.monotonic()
        if self._begun is None:
            return "its process did not get ready to fit in time and was ended"
        if self._fitted is None:
            return "it did not stop at its deadline and was ended"
        return (
            f"its fit ended after {self._fitted - self._begun:.1f} s; its imputation did not end within "
            f"{now - self._fitted:.1f} s after that and was ended"
        )

    def check(self) -> None:
        """End the process if it is beyond a limit."""
        if time.monotonic() > self._latest:
            error = self._why_late()
            self._method.show_stack()
            self.outcome = MethodOutcome(status="timeout", error=error)
        elif self._bytes < math.inf and resident_bytes() > self._bytes:
            # The resident memory may be that of files, which the kernel can take back. To tell is slow.
            held = held_bytes()
            if held > self._bytes:
                error = f"its processes held {held / 1e9:.2f} GB; --memory allows {self._bytes / 1e9:g}"
                self.outcome = MethodOutcome(status="out-of-memory", error=error)
        if self.outcome is not None:
            self._method.end()


def limit_memory(gigabytes: float) -> None:
    """Refuse this process more than so much private memory beyond what it holds now (Linux).

    `Limits` measures what the whole tree of processes holds, now and then. This stops the one allocation
    that would be too large before anybody can measure it.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        now = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
        most = now + int(gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    except (OSError, ValueError, OverflowError, StopIteration):
        return
