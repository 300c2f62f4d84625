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
        self._bytes = math.inf if memory is None else memory * 1e9
        self.outcome: MethodOutcome | None = None

    def begin(self) -> None:
        """Start the clock: the fit begins now. What came before, as slow as its disk, is not the method's."""
        self._latest = time.monotonic() + self._seconds

    def check(self) -> None:
        """End the process if it is beyond a limit."""
        if time.monotonic() > self._latest:
            self._method.show_stack()
            error = "it did not stop at its deadline and was ended"
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
