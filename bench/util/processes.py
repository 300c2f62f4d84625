"""Processes that we start and watch: `Child` is such a process seen by its parent, `Parent` the other way.

A child starts as a new interpreter, as a fork of a warm server (`bench.util.warm`), or as a fork of this
process. It reads its job, one line of JSON, from its standard input. When that input closes the child stops:
its parent asked for it, has ended, or was killed. A child sends messages, one line of JSON each, over a
pipe of its own. When a child has ended, what it started and left behind is found and ended too: by its
parents, by its process group, and by a mark in the environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bench.util.forking import Forked
from bench.util.process_tree import TOKEN, end_each, left_of, oom_kills
from bench.util.warm import Server, Started

if TYPE_CHECKING:
    from pydantic import BaseModel

EVENTS = "BENCH_EVENTS"
"""The variable that tells a child the number of its open pipe."""

FILES = "BENCH_FILES"
"""The variable that tells a child the numbers of the open files that it was given, divided by commas."""

TICK_SECONDS = 0.2
STOP_SECONDS = 30.0
"""How long a child that was asked to stop may take to write its checkpoint."""

LONGEST_MESSAGE = 64_000_000
"""Bytes. A longer message is cut, and so cannot be read: no message of ours is nearly as long."""


class Child:
    """A process that this one starts and watches, in a session of its own. It waits for its job: `send`.

    Attributes:
        left_behind: the numbers of the processes that it left running and that were ended after it.

    Args:
        main: a module, which is run as `python -m MODULE` or whose `main` the server runs; or a function,
            which is called in a fork.
        environment: variables to set beside ours.
        output: takes what the child prints; if None, the child prints where we do.
        inherited: open files that the child gets under the same numbers.
        folder: where the child runs; if None, where we do.
        patience: how many seconds the child may take to end after it was asked to.
        ending: how many seconds the processes that it left behind may take to end by themselves.
        server: forks the module's process; if None, a new interpreter is started.
    """

    def __init__(
        self,
        main: str | Callable[[], None],
        environment: Mapping[str, str],
        *,
        output: Callable[[bytes], Any] | None = None,
        inherited: Sequence[int] = (),
        folder: Path | None = None,
        patience: float = STOP_SECONDS,
        ending: float = 0.0,
        server: Server | None = None,
    ) -> None:
        # A child's child has a token that begins with the child's, so each finds its own.
        self.token = f"{os.environ.get(TOKEN, '')}/{secrets.token_hex(16)}"
        self.left_behind: set[int] = set()
        self._patience, self._ending = patience, ending
        self._output = output
        self._oom_kills = oom_kills()
        self._asked: float | None = None
        self._asking, self._telling, self._printing = _Pipe(), _Pipe(), _Pipe() if output else None
        told = {TOKEN: self.token, EVENTS: str(self._telling.write), FILES: ",".join(map(str, inherited))}
        printed = self._printing.write if self._printing else None
        self._process = _started(
            main,
            os.environ | environment | told,
            str(folder or Path.cwd()),
            (self._asking.read, printed),
            [self._telling.write, *inherited],
            server,
        )
        self._asking.close_read()
        self._telling.close_write()
        if self._printing:
            self._printing.close_write()

    def send(self, job: Any) -> None:
        """Give the child its job: what it is to do, as JSON. Once."""
        with contextlib.suppress(BrokenPipeError):
            _write_all(self._asking.write, json.dumps(job).encode() + b"\n")

    @property
    def pid(self) -> int:
        """The child's number."""
        return self._process.pid

    def messages(self, tick: Callable[[], None]) -> Iterator[bytes]:
        """Each line that the child sends, until it has ended. If the caller stops reading, end the child.

        Args:
            tick: called several times a second.
        """
        line = bytearray()
        try:
            with selectors.DefaultSelector() as selector:
                self._register(selector)
                while self._process.poll() is None:
                    for data in self._read(selector, TICK_SECONDS):
                        yield from _lines(line, data)
                    if not selector.get_map():
                        self._wait(TICK_SECONDS)
                    self._insist()
                    tick()
                # What the child left behind may keep the pipes open: read only what is in them now.
                while found := self._read(selector, 0):
                    for data in found:
                        yield from _lines(line, data)
        finally:
            self.end()
            for pipe in (self._asking, self._telling, self._printing):
                if pipe is not None:
                    pipe.close()

    def _register(self, selector: selectors.BaseSelector) -> None:
        for pipe in (self._telling, self._printing):
            if pipe is not None:
                os.set_blocking(pipe.read, False)
                selector.register(pipe.read, selectors.EVENT_READ)

    def _read(self, selector: selectors.BaseSelector, seconds: float) -> list[bytes]:
        """Read once from each pipe that has something, and return what came; b"" stands for output."""
        came = []
        for key, _ in selector.select(seconds) if selector.get_map() else ():
            try:
                data = os.read(key.fd, 1 << 16)
            except BlockingIOError:
                continue
            if not data:
                selector.unregister(key.fd)
            elif self._printing is not None and key.fd == self._printing.read:
                assert self._output is not None
                self._output(data)
                came.append(b"")
            else:
                came.append(data)
        return came

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def ask_to_stop(self) -> None:
        """Let the child write its checkpoint and end. If it does not end in time, it is ended."""
        if self._asked is None:
            self._asked = time.monotonic()
            self._asking.close_write()

    def _insist(self) -> None:
        if self._asked is not None and time.monotonic() - self._asked > self._patience:
            self.end()

    def end(self) -> None:
        """End the child, and whatever it started and left behind."""
        below: list[psutil.Process] = []
        ended_by_itself = self._process.poll() is not None
        if not ended_by_itself:
            # The child may have inherited orphans, which nobody can tell from others once it has ended.
            with contextlib.suppress(psutil.Error):
                below = psutil.Process(self.pid).children(recursive=True)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        until = time.monotonic() + (self._ending if ended_by_itself else 0.0)
        while left := [*below, *left_of(self.token, self.pid)]:
            if time.monotonic() >= until:
                self.left_behind |= end_each(left)
                break
            time.sleep(0.05)

    def show_stack(self) -> None:
        """Ask the child to print its stack, if it can."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
            time.sleep(2 * TICK_SECONDS)

    @property
    def out_of_memory(self) -> bool:
        """Whether the child was killed while the kernel ended processes for lack of memory."""
        return self._process.returncode == -signal.SIGKILL and oom_kills() > self._oom_kills

    @property
    def exit_status(self) -> int:
        """The exit status of a child that has ended; the negative number of the signal that killed it."""
        assert self._process.returncode is not None
        return self._process.returncode

    @property
    def how_it_ended(self) -> str:
        """In words: "killed by signal 9 (SIGKILL)"."""
        code = self.exit_status
        if code >= 0:
            return f"it left with exit status {code}"
        name = signal.Signals(-code).name if -code in signal.valid_signals() else "unknown"
        return f"killed by signal {-code} ({name})"


class _Pipe:
    """A pipe whose two ends can each be closed more than once."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self._open = {self.read, self.write}

    def _close(self, end: int) -> None:
        if end in self._open:
            self._open.remove(end)
            os.close(end)

    def close_read(self) -> None:
        self._close(self.read)

    def close_write(self) -> None:
        self._close(self.write)

    def close(self) -> None:
        self.close_read()
        self.close_write()


def _started(
    main: str | Callable[[], None],
    environment: Mapping[str, str],
    folder: str,
    streams: tuple[int, int | None],
    files: Sequence[int],
    server: Server | None,
) -> subprocess.Popen[bytes] | Forked | Started:
    """The process of a `Child`; `streams` become its standard input and, unless it is None, its output."""
    given, printed = streams
    numbers = {file: file for file in files}
    numbers |= {0: given, 1: 1 if printed is None else printed, 2: 2 if printed is None else printed}
    if not isinstance(main, str):
        return Forked(main, environment, folder, numbers)
    if server is not None:
        # A server that has ended, for whatever reason, costs time only.
        with contextlib.suppress(OSError):
            return server.start(main, environment, folder, numbers)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", main],
        stdin=given,
        stdout=printed,
        stderr=printed,
        cwd=folder,
        env=environment,
        pass_fds=files,
        start_new_session=True,
    )


class Parent:
    """The process that started this one, seen from here. Make it first of all, and once.

    Attributes:
        job: what is to be done, as JSON.
        files: the open files that the process was given.
    """

    def __init__(self) -> None:
        self.files = given_files()
        line = _first_line(0)
        if not line:
            # The parent has ended, or does not need this process any more.
            os._exit(0)
        self.job: Any = json.loads(line)
        # The code that runs here finds its standard input empty, and its children cannot keep our pipes.
        self._asking = os.dup(0)
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
        self._telling = int(os.environ.pop(EVENTS))
        for private in (self._asking, self._telling, *self.files):
            _keep_from_children(private)
        self._one_at_a_time = threading.Lock()
        # Ctrl-C on a terminal reaches every process; the parent alone decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def tell(self, message: BaseModel) -> bool:
        """Send a message; False if nobody reads any more."""
        data = json.dumps(message.model_dump()).encode() + b"\n"
        with self._one_at_a_time:
            try:
                _write_all(self._telling, data)
            except OSError:
                return False
        return True

    def on_stop(self, stop: Callable[[], None]) -> None:
        """Call `stop`, in a thread, when the parent asks to stop or is gone."""

        def wait() -> None:
            while os.read(self._asking, 1 << 16):
                pass
            stop()

        threading.Thread(target=wait, daemon=True).start()


def given_files() -> list[int]:
    """The open files that this process was given by its parent."""
    return [int(number) for number in os.environ.get(FILES, "").split(",") if number]


def _keep_from_children(file: int) -> None:
    """Close an open file in every process that this one starts or forks."""
    os.set_inheritable(file, False)

    def close() -> None:
        with contextlib.suppress(OSError):
            os.close(file)

    os.register_at_fork(after_in_child=close)


def _lines(line: bytearray, data: bytes) -> Iterator[bytes]:
    """The complete lines in what was read before and in `data`; the unfinished rest stays in `line`."""
    *whole, rest = data.split(b"\n")
    for part in whole:
        line += part
        yield bytes(line)
        line.clear()
    line += rest
    if len(line) > LONGEST_MESSAGE:
        yield bytes(line)
        line.clear()


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _first_line(file: int) -> bytes:
    """The first line of an open file, which holds nothing beyond it."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(file, 1 << 16)
        if not piece:
            break
        line += piece
    return bytes(line)
