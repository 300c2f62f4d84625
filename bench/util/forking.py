"""Forks of this process that are as good as new processes."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import NoReturn

SAFE = sys.platform == "linux"
"""Whether a process that has loaded large packages may fork; on macOS it must not."""

FIRST_FREE = 1000
"""Files first get numbers from here on, and then their own, so that none takes the number of another."""


class Forked:
    """A function that runs in a fork of this process; it tells of its end as `subprocess.Popen` does.

    Only a process with one thread should fork. What it has in memory, the fork has too.

    Attributes:
        pid: the fork's number.
        returncode: its exit status, or minus the signal that ended it; None while it runs.

    Args:
        main: the function.
        environment: every environment variable of the fork.
        folder: the fork's working folder.
        files: our open files by the numbers that they get in the fork. 0, 1 and 2 must be among them. No
            other file stays open there.
    """

    def __init__(
        self, main: Callable[[], None], environment: Mapping[str, str], folder: str, files: Mapping[int, int]
    ) -> None:
        self.returncode: int | None = None
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.pid = os.fork()
        if not self.pid:
            _become(main, environment, folder, files)

    def poll(self) -> int | None:
        """The exit status; None while the function runs."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once the function has ended.

        Raises:
            subprocess.TimeoutExpired: it has not ended after so many seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired("a fork", timeout or 0)
            time.sleep(0.01)
        return code


def main_of(module: str) -> Callable[[], None]:
    """A function that imports a module and runs its `main`."""
    return lambda: importlib.import_module(module).main()


def _become(
    main: Callable[[], None], environment: Mapping[str, str], folder: str, files: Mapping[int, int]
) -> NoReturn:
    """Be like a process that was just started, run the function, and leave.

    Exit functions are not run, because they are the parent's.
    """
    status = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _take(files)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        importlib.invalidate_caches()
        # NumPy's global generator would draw the same numbers in each fork. Python reseeds its own.
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()
        main()
        status = 0
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)


def _take(files: Mapping[int, int]) -> None:
    """Give open files their numbers, close all others, and open the standard streams on them."""
    moved = {number: fcntl.fcntl(file, fcntl.F_DUPFD, FIRST_FREE) for number, file in files.items()}
    for number, file in moved.items():
        os.dup2(file, number)
    kept = sorted(files)
    for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(low + 1, high)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", 1 if os.isatty(1) else -1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
