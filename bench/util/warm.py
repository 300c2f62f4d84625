"""A warm server: it has imported the heavy packages once, and forks a process for each that is asked for.

A small cell spends most of its time in interpreters that each import torch. The server imports such packages
once; it opens no data. A process that it forks is as good as a new one: it has a session, an environment, a
working folder and standard streams of its own, and no open file but those that it was given. This works
on Linux only: on macOS a process that has loaded such packages must not fork.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import psutil

LARGEST_REQUEST = 1 << 20
MOST_FILES = 16
FIRST_FREE = 1000
"""The given files are moved above this number first, so that none is overwritten by another."""


class Started:
    """A process that the server has forked. It tells of it as `subprocess.Popen` does.

    Attributes:
        pid: its number.
        returncode: its exit status, or minus the signal that ended it; None while it runs.

    Raises:
        OSError: the server has ended.
    """

    def __init__(self, news: int) -> None:
        self._news = news
        self.returncode: int | None = None
        self._told = b""
        while b"\n" not in self._told:
            if not self._hear():
                raise OSError("the server that starts processes has ended")
        number, _, self._told = self._told.partition(b"\n")
        self.pid = int(number)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit status.

        Raises:
            subprocess.TimeoutExpired: it runs after so many seconds.
        """
        while self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._news, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            if not self._hear():
                # A server that was killed has told nothing; nobody can wait for its children then.
                self.returncode = int(self._told or -signal.SIGKILL)
        return self.returncode

    def _hear(self) -> bool:
        data = os.read(self._news, 64)
        self._told += data
        if not data:
            os.close(self._news)
        return bool(data)


class Server:
    """The server, as seen by the process that owns it. It ends with its owner.

    Args:
        packages: what it imports, in this order. Requests are answered between two of them.
        first: how many of them it imports before it answers at all.
        environment: of the server: what packages read while they are imported.
    """

    def __init__(self, packages: Sequence[str], first: int, environment: Mapping[str, str]) -> None:
        self._one_at_a_time = threading.Lock()
        self._asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with asked:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "bench.util.warm", str(asked.fileno()), str(first), *packages],
                stdin=subprocess.DEVNULL,
                env=dict(environment),
                pass_fds=[asked.fileno()],
                start_new_session=True,
            )

    def start(self, module: str, environment: Mapping[str, str], files: Mapping[int, int]) -> Started:
        """Run `main()` of a module in a new process.

        Args:
            environment: all of it.
            files: our open files by the numbers that they get there. 0, 1 and 2 must be among them.

        Raises:
            OSError: the server has ended, or too much was given.
        """
        request = {
            "module": module,
            "environment": dict(environment),
            "files": [*files],
            "folder": str(Path.cwd()),
        }
        reading, writing = os.pipe()
        try:
            with self._one_at_a_time:
                given = [writing, *files.values()]
                socket.send_fds(self._asking, [json.dumps(request).encode()], given)
        finally:
            os.close(writing)
        return Started(reading)

    def close(self) -> None:
        """End the server, once the processes that it forked have ended."""
        self._asking.close()
        self._process.wait()


def fork(module: str, environment: Mapping[str, str], folder: str, files: Mapping[int, int]) -> int:
    """Fork this process into one that runs `main()` of a module; its number.

    Only a process with one thread may do so. What it has in memory, the other has too.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        _become(module, environment, folder, files)
    return pid


def _become(module: str, environment: Mapping[str, str], folder: str, files: Mapping[int, int]) -> NoReturn:
    """Be as a process that was just started, run the module, and leave."""
    status = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        _take(files)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv = [module]
        _forget_draws()
        status = _status_of(module)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)


def _status_of(module: str) -> int:
    """Run a module's `main()` as the interpreter runs a program, exit functions included; its exit status."""
    try:
        importlib.import_module(module).main()
        return 0
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
        atexit._run_exitfuncs()


def _take(files: Mapping[int, int]) -> None:
    """Give open files their numbers, close all others, and open the standard streams on them."""
    import fcntl

    moved = {number: fcntl.fcntl(file, fcntl.F_DUPFD, FIRST_FREE) for number, file in files.items()}
    for number, file in moved.items():
        os.dup2(file, number)
    kept = sorted(files)
    for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(low + 1, high)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", 1 if os.isatty(1) else -1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def _forget_draws() -> None:
    """NumPy's own generator starts elsewhere in each process; Python's sees to that itself."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _serve(asked: socket.socket, packages: list[str], first: int) -> None:
    """Fork what is asked for until the owner is gone and all has ended."""
    waiting = packages[first:]
    for package in packages[:first]:
        _load(package)
    told: dict[int, int] = {}
    woken, waking = os.pipe()
    for end in (woken, waking):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking)
    owned = True
    with selectors.DefaultSelector() as selector:
        selector.register(asked, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while owned or told:
            ready = {key.fd for key, _ in selector.select(0 if waiting and owned else None)}
            if not ready:
                _load(waiting.pop(0))
            if woken in ready:
                os.read(woken, 1 << 10)
                _reap(told)
            if asked.fileno() in ready:
                owned = _answer(asked, told)
                if not owned:
                    selector.unregister(asked)


def _load(package: str) -> None:
    # Whoever needs it says what is wrong with it.
    with contextlib.suppress(Exception):
        importlib.import_module(package)
    gc.collect()
    gc.freeze()


def _answer(asked: socket.socket, told: dict[int, int]) -> bool:
    """Fork what one request wants; False where the owner is gone."""
    data, files, _, _ = socket.recv_fds(asked, LARGEST_REQUEST, MOST_FILES)
    if not data:
        return False
    request: dict[str, Any] = json.loads(data)
    news, *given = files
    numbers = dict(zip(request["files"], given, strict=True))
    pid = fork(request["module"], request["environment"], request["folder"], numbers)
    for file in given:
        os.close(file)
    told[pid] = news
    with contextlib.suppress(BrokenPipeError):
        os.write(news, b"%d\n" % pid)
    return True


def _reap(told: dict[int, int]) -> None:
    """Tell of each process that has ended; end what one of them left behind, which is ours now."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            news = told.pop(pid, None)
            if news is None:
                continue
            for orphan in psutil.Process().children():
                if orphan.pid not in told:
                    with contextlib.suppress(psutil.Error):
                        orphan.kill()
            with contextlib.suppress(BrokenPipeError):
                os.write(news, b"%d" % os.waitstatus_to_exitcode(status))
            os.close(news)


def main() -> None:
    from bench.util.processes import inherit_orphans

    inherit_orphans()
    # A terminal's Ctrl-C is the owner's to hear.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    number, first, *packages = sys.argv[1:]
    with socket.socket(fileno=int(number)) as asked:
        asked.set_inheritable(False)
        _serve(asked, packages, int(first))


if __name__ == "__main__":
    main()
