"""A warm server: it has imported the heavy packages once, then it forks every process that it is asked for.

A small cell spends most of its time in interpreters that each import torch. The server imports such packages
once; it opens no data. A process that it forks is as good as a new one: it has a session, an environment, a
working folder and standard streams of its own, and only those open files that it was given.
"""

from __future__ import annotations

import contextlib
import functools
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
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from bench.util.forking import SAFE, Forked, main_of
from bench.util.process_tree import inherit_orphans

MOST_FILES = 16

READ_AT_START = ("PYTHON", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "GOMP_", "LD_", "TORCH_")
"""How the names of those variables begin that an interpreter or its packages read only while they load."""


class Started:
    """A process that the server has forked; it tells of its end as `subprocess.Popen` does.

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
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        while self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._news, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            if not self._hear():
                # A server that was killed has told nothing, and nobody can wait for its children.
                self.returncode = int(self._told or -signal.SIGKILL)
        return self.returncode

    def _hear(self) -> bool:
        data = os.read(self._news, 64)
        self._told += data
        if not data:
            os.close(self._news)
        return bool(data)


class Server:
    """The server, seen by the process that owns it. It ends with its owner.

    Args:
        packages: what it imports before it answers.
        environment: every environment variable of the server.
    """

    def __init__(self, packages: Sequence[str], environment: Mapping[str, str]) -> None:
        self._one_at_a_time = threading.Lock()
        self._asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with asked:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "bench.util.warm", str(asked.fileno()), *packages],
                stdin=subprocess.DEVNULL,
                env=dict(environment),
                pass_fds=[asked.fileno()],
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it can still be asked."""
        return self._process.poll() is None

    def start(
        self, module: str, environment: Mapping[str, str], folder: str, files: Mapping[int, int]
    ) -> Started:
        """Run `main()` of a module in a new process.

        Args:
            environment, folder, files: as `Forked` takes them.

        Raises:
            OSError: the server has ended, or too many files were given.
        """
        request = {"module": module, "environment": dict(environment), "files": [*files], "folder": folder}
        reading, writing = os.pipe()
        try:
            # An environment may be larger than a message of a socket, so the request goes in a file.
            with open(os.memfd_create("request"), "wb") as asking, self._one_at_a_time:  # noqa: PTH123
                asking.write(json.dumps(request).encode())
                asking.flush()
                socket.send_fds(self._asking, [b"?"], [asking.fileno(), writing, *files.values()])
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return Started(reading)

    def close(self) -> None:
        """Let the server end when the processes that it has forked have ended."""
        self._asking.close()
        self._process.wait()


def server_with(packages: Sequence[str], environment: Mapping[str, str]) -> Server | None:
    """This process's server that has imported some packages; None if forking is not safe.

    Args:
        environment: of the processes that are to be forked. If it differs in a variable that packages read
            while they load, another server is needed.
    """
    if not SAFE:
        return None
    early = {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}
    which = (os.getpid(), tuple(packages), tuple(sorted(early.items())))
    server = _server(which)
    if not server.running:
        _server.cache_clear()
        server = _server(which)
    return server


@functools.lru_cache(maxsize=4)
def _server(which: tuple[int, tuple[str, ...], tuple[tuple[str, str], ...]]) -> Server:
    _, packages, early = which
    rest = {name: value for name, value in os.environ.items() if not name.startswith(READ_AT_START)}
    return Server(packages, rest | dict(early))


def _serve(asked: socket.socket, packages: Sequence[str]) -> None:
    """Fork what is asked for until the owner is gone and all forks have ended."""
    for package in packages:
        # If a package cannot be imported, the code that needs it will say why.
        with contextlib.suppress(Exception):
            importlib.import_module(package)
    gc.collect()
    gc.freeze()
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
            ready = {key.fd for key, _ in selector.select()}
            if woken in ready:
                os.read(woken, 1 << 10)
                _reap(told)
            if asked.fileno() in ready:
                owned = _answer(asked, told)
                if not owned:
                    selector.unregister(asked)


def _answer(asked: socket.socket, told: dict[int, int]) -> bool:
    """Fork what one request asks for; False if the owner has ended."""
    data, files, _, _ = socket.recv_fds(asked, 1, MOST_FILES)
    if not data:
        return False
    asking, news, *given = files
    with open(asking, "rb") as asked_for:  # noqa: PTH123
        asked_for.seek(0)
        request: dict[str, Any] = json.load(asked_for)
    numbers = dict(zip(request["files"], given, strict=True))
    child = Forked(main_of(request["module"]), request["environment"], request["folder"], numbers)
    for file in given:
        os.close(file)
    told[child.pid] = news
    with contextlib.suppress(BrokenPipeError):
        os.write(news, b"%d\n" % child.pid)
    return True


def _reap(told: dict[int, int]) -> None:
    """Tell of each process that has ended. What it left behind is our child now, and is ended."""
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
    inherit_orphans()
    # Ctrl-C on a terminal reaches every process; the owner alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    number, *packages = sys.argv[1:]
    with socket.socket(fileno=int(number)) as asked:
        asked.set_inheritable(False)
        _serve(asked, packages)


if __name__ == "__main__":
    main()
