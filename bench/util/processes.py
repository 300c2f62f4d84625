"""Processes of ours that get a job, tell what they do, and end when their parent does.

A child reads its job, one line of JSON, from its standard input, and stops when that closes: whether
its parent asked for it, ended, or was killed. What it tells goes back over a pipe, a line of JSON each.
Whatever it started and left behind is found and ended: by descent where the parent is made to inherit
orphans (Linux), and by a token in the environment everywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

TOKEN = "BENCH_PROCESS"
EVENTS = "BENCH_EVENTS"
TICK_SECONDS = 0.2
STOP_SECONDS = 30.0
"""How long a child that was asked to stop may take to write its checkpoint."""

_PR_SET_CHILD_SUBREAPER = 36

Event = Mapping[str, Any]


class Child:
    """A module of ours, run as a process in a session of its own.

    Attributes:
        left_behind: the numbers of processes it had started that had to be ended when it had ended.

    Args:
        module: run as `python -m MODULE`.
        job: what it gets; JSON.
        environment: variables beside ours.
        output: takes what it prints; where None, it prints where we do.
        inherited: open files that it gets under the same numbers.
        patience: seconds it may take to end when it was asked to; more than it gives its own children.
    """

    def __init__(
        self,
        module: str,
        job: Mapping[str, Any],
        environment: Mapping[str, str],
        patience: float,
        output: Callable[[bytes], Any] | None = None,
        inherited: Iterable[int] = (),
    ) -> None:
        # A child's child has a token that begins with the child's, and so is found by either.
        self.token = f"{os.environ.get(TOKEN, '')}/{secrets.token_hex(16)}"
        self.left_behind: set[int] = set()
        self._patience = patience
        self._output = output
        self._oom_kills = _oom_kills()
        self._asked: float | None = None
        reading, writing = os.pipe()
        with contextlib.closing(os.fdopen(writing, "wb")):
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if output else None,
                stderr=subprocess.STDOUT if output else None,
                env=os.environ | environment | {TOKEN: self.token, EVENTS: str(writing)},
                pass_fds=[writing, *inherited],
                start_new_session=True,
            )
        self._events = os.fdopen(reading, "rb")
        self._line = b""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()

    def follow(self, told: Callable[[Event], None], tick: Callable[[], None]) -> None:
        """Pass on what the child tells and prints until it has ended; end it where one of the two raises.

        Args:
            told: takes each event.
            tick: called several times a second.
        """
        try:
            with selectors.DefaultSelector() as selector:
                self._register(selector, told)
                while self.process.poll() is None:
                    self._read(selector, TICK_SECONDS)
                    if not selector.get_map():
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            self.process.wait(TICK_SECONDS)
                    self._insist()
                    tick()
                # What it left behind may hold the pipes open for ever: only what is in them now is read.
                while self._read(selector, 0):
                    pass
        finally:
            self.end()
            for pipe in (self.process.stdin, self.process.stdout, self._events):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()

    def _register(self, selector: selectors.BaseSelector, told: Callable[[Event], None]) -> None:
        def take_events(data: bytes) -> None:
            *lines, self._line = (self._line + data).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError):
                    told(json.loads(line))

        pipes = [(self._events, take_events), (self.process.stdout, self._output)]
        for pipe, take in pipes:
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, take)

    def _read(self, selector: selectors.BaseSelector, seconds: float) -> bool:
        """Read once from each pipe that has something; whether there was any."""
        some = False
        for key, _ in selector.select(seconds) if selector.get_map() else ():
            try:
                data = os.read(key.fd, 1 << 16)
            except BlockingIOError:
                continue
            if data:
                some = True
                key.data(data)
            else:
                selector.unregister(key.fileobj)
        return some

    def ask_to_stop(self) -> None:
        """Let it write its checkpoint and end; one that does not is ended after a while."""
        if self._asked is None and self.process.stdin is not None:
            self._asked = time.monotonic()
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def _insist(self) -> None:
        if self._asked is not None and time.monotonic() - self._asked > self._patience:
            self.end()

    @property
    def asked(self) -> bool:
        """Whether it was asked to stop."""
        return self._asked is not None

    def end(self) -> None:
        """End the process, and whatever it started and left behind."""
        below: list[psutil.Process] = []
        if self.process.poll() is None:
            # It inherits the orphans below it, who are out of sight once it has ended itself.
            with contextlib.suppress(psutil.Error):
                below = psutil.Process(self.process.pid).children(recursive=True)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.left_behind |= _end_each(below) | _end_all(self.token)

    def show_stack(self) -> None:
        """Let it print where it is, if it knows how to."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(2 * TICK_SECONDS)

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel ended processes for want of memory while this one was killed."""
        return self.process.returncode == -signal.SIGKILL and _oom_kills() > self._oom_kills

    @property
    def how_it_ended(self) -> str:
        """In words: "killed by signal 9 (SIGKILL)"."""
        code = self.process.returncode
        if code >= 0:
            return f"it left with exit status {code}"
        name = signal.Signals(-code).name if -code in signal.valid_signals() else "unknown"
        return f"killed by signal {-code} ({name})"


class Parent:
    """The process that started this one, as seen from here; made first of all, once.

    Attributes:
        job: what is to be done.
    """

    def __init__(self) -> None:
        self.job: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
        # What the method reads from its standard input is nothing, and none of its children keeps our pipes.
        self._asking = os.dup(sys.stdin.fileno())
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), sys.stdin.fileno())
        self._telling = int(os.environ.pop(EVENTS))
        for private in (self._asking, self._telling):
            keep_from_children(private)
        self._one_at_a_time = threading.Lock()
        # A terminal's Ctrl-C is the parent's to hear.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def tell(self, event: Event) -> bool:
        """Send an event; False where nobody hears any more."""
        data = json.dumps(event).encode() + b"\n"
        with self._one_at_a_time:
            try:
                while data:
                    data = data[os.write(self._telling, data) :]
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


def keep_from_children(file: int) -> None:
    """No process that this one starts or forks keeps the open file."""
    os.set_inheritable(file, False)

    def close() -> None:
        with contextlib.suppress(OSError):
            os.close(file)

    os.register_at_fork(after_in_child=close)


def inherit_orphans() -> None:
    """Become the parent of every orphan below this process, so that none is lost sight of; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[psutil.Process]:
    """All processes below this one."""
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return found


def end_descendants() -> set[int]:
    """End all that is below this process; the numbers of those that had not ended by themselves."""
    ended: set[int] = set()
    # One that forks faster than it is found is met again; the end of its parents makes it ours.
    for _ in range(50):
        found = descendants()
        if not found:
            break
        ended |= _end_each(found)
        psutil.wait_procs(found, timeout=1)
    return ended


def _end_each(processes: Iterable[psutil.Process]) -> set[int]:
    """End those of the processes that run; their numbers."""
    ended = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                process.kill()
                ended.add(process.pid)
    return ended


def _end_all(token: str) -> set[int]:
    """End every process with a token in its environment that begins with this one; their numbers."""
    ended = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(TOKEN, "").startswith(token):
                process.kill()
                ended.add(process.pid)
    return ended


def held_bytes() -> int:
    """The memory that the processes below this one hold and the kernel cannot take back.

    Anonymous and shared memory, in main memory or swapped out; what several processes share counts once
    (Linux: Pss_Anon + Pss_Shmem + SwapPss of /proc/PID/smaps_rollup; elsewhere the resident set).
    """
    return sum(_held_bytes(process) for process in descendants())


def resident_bytes() -> int:
    """The resident sets of the processes below this one, added up: quick, and no less than what they hold."""
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


def _oom_kills() -> int:
    """Processes that the kernel has ended for want of memory since it started; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
