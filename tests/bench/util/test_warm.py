"""A forked process is as good as a new one, and its end is told as `subprocess` tells it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.util.processes import Child
from bench.util.warm import Server, Started
from tests.bench.command import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm server is for Linux")

MODULE = "tests.bench.util.forked"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(["numpy", "json"], os.environ | {"PYTHONPATH": str(ROOT), "LEFT": "server"})
    yield server
    server.close()


class Asked:
    """A process that the server has forked, with pipes to it."""

    def __init__(
        self,
        server: Server,
        word: str,
        extra: dict[int, int] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        reading, self.asking = os.pipe()
        self.telling, writing = os.pipe()
        files = {0: reading, 1: writing, 2: writing, **(extra or {})}
        self.process: Started = server.start(MODULE, environment or {"OWN": "1"}, str(Path.cwd()), files)
        os.close(reading)
        os.close(writing)
        os.write(self.asking, f"{word}\n".encode())

    def line(self) -> str:
        return os.read(self.telling, 1 << 16).decode()

    def all(self) -> str:
        text = ""
        while piece := self.line():
            text += piece
        for file in (self.asking, self.telling):
            os.close(file)
        return text


def test_a_forked_process_is_as_good_as_a_new_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "given").open("w") as given, (tmp_path / "kept").open("w"):
        one, other = (Asked(server, "tell", {given.fileno(): given.fileno()}) for _ in range(2))
        seen, again = json.loads(one.all()), json.loads(other.all())
        expected = {0, 1, 2, given.fileno()}
    assert seen["session"] and seen["threads"] == 1
    assert set(seen["files"]) == expected
    assert seen["environment"] == {"OWN": "1"}
    assert seen["folder"] == str(tmp_path)
    assert seen["draws"][0] != again["draws"][0] and seen["draws"][1] != again["draws"][1]
    assert one.process.wait() == other.process.wait() == 0


def test_an_environment_may_be_larger_than_a_message_of_a_socket(server: Server) -> None:
    large = {f"LARGE_{number}": "x" * 100_000 for number in range(12)}
    assert json.loads(Asked(server, "tell", environment=large).all())["environment"] == large


def test_how_it_ended_is_told(server: Server) -> None:
    left, fell, killed = (Asked(server, word) for word in ("leave", "raise", "wait"))
    assert left.process.wait(30) == 7
    assert "RuntimeError: it fell" in fell.all() and fell.process.wait(30) == 1
    assert killed.process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        killed.process.wait(0.01)
    assert int(killed.line()) == killed.process.pid
    os.kill(killed.process.pid, signal.SIGTERM)
    assert killed.process.wait(30) == -signal.SIGTERM


def test_what_a_process_leaves_behind_is_ended(server: Server) -> None:
    asked = Asked(server, "orphan")
    orphan = int(asked.line())
    assert asked.process.wait(30) == 0
    wait_for(lambda: not psutil.pid_exists(orphan), 30)


def test_the_server_ends_with_its_owner(tmp_path: Path) -> None:
    code = (
        "import os, time; from bench.util.warm import Server\n"
        "server = Server(['json'], os.environ)\n"
        "print(server._process.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    number = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    wait_for(lambda: not psutil.pid_exists(number), 30)


def test_a_package_that_cannot_be_loaded_stops_nobody() -> None:
    server = Server(["no.such.package"], os.environ | {"PYTHONPATH": str(ROOT)})
    began = time.monotonic()
    assert Asked(server, "leave").process.wait(30) == 7
    assert time.monotonic() - began < 30
    server.close()


def test_a_server_that_was_killed_is_told(server: Server) -> None:
    asked = Asked(server, "wait")
    number = int(asked.line())
    server._process.kill()
    assert asked.process.wait(30) == -signal.SIGKILL
    os.kill(number, signal.SIGKILL)
    with pytest.raises(OSError):
        Asked(server, "leave")


def test_what_hides_below_a_child_is_ended_although_the_server_was_killed(server: Server) -> None:
    printed = bytearray()
    child = Child(MODULE, {}, output=printed.extend, server=server)
    child.send("parent")

    def kill_the_server() -> None:
        if printed.endswith(b"\n"):
            server._process.kill()

    assert list(child.messages(kill_the_server)) == []
    hidden = int(printed)
    try:
        wait_for(lambda: not psutil.pid_exists(hidden), 10)
    finally:
        if psutil.pid_exists(hidden):
            os.kill(hidden, signal.SIGKILL)
