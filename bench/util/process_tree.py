"""The processes below this one: finding them, ending them, and measuring what they hold."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

TOKEN = "BENCH_PROCESS"
"""The environment variable that marks a process that we started, and every process that it starts."""

_PR_SET_CHILD_SUBREAPER = 36


def inherit_orphans() -> None:
    """Become the parent of every process below this one whose parent ends, so that none is lost (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[psutil.Process]:
    """All processes below this one."""
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return found


def end_descendants() -> set[int]:
    """End all processes below this one; returns the numbers of those that were still running."""
    ended: set[int] = set()
    # A process that forks faster than we look is found in a later turn: its orphans become our children.
    for _ in range(50):
        found = descendants()
        if not found:
            break
        ended |= end_each(found)
        psutil.wait_procs(found, timeout=1)
    return ended


def end_each(processes: Iterable[psutil.Process]) -> set[int]:
    """End those of the processes that still run; returns their numbers."""
    ended = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                process.kill()
                ended.add(process.pid)
    return ended


def left_of(token: str, group: int) -> list[psutil.Process]:
    """Every process that still runs after a child of ours has started it and ended, and what is below it.

    The child itself may still run: if the server that forked it was killed, we only believe that it ended.

    Args:
        token: what the child's mark in the environment begins with.
        group: the child's process group.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = os.getpgid(process.pid) == group or process.environ().get(TOKEN, "").startswith(token)
            if ours and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found += [process, *process.children(recursive=True)]
    return found


def held_bytes() -> int:
    """The memory that the processes below this one hold and the kernel cannot take back.

    Anonymous and shared memory, in main memory or swapped out. Memory that several processes share counts
    once (Linux: Pss_Anon + Pss_Shmem + SwapPss of /proc/PID/smaps_rollup; elsewhere the resident set).
    """
    return sum(_held_bytes(process) for process in descendants())


def resident_bytes() -> int:
    """The sum of the resident sets of the processes below this one: quick, and at least what they hold."""
    total = 0
    for process in descendants():
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _held_bytes(process: psutil.Process) -> int:
    wanted = ("Pss_Anon:", "Pss_Shmem:", "SwapPss:")
    with contextlib.suppress(OSError, ValueError):
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(wanted))
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def oom_kills() -> int:
    """How many processes the kernel has ended for lack of memory since it started; 0 if it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
