"""A watched child: what it sends and prints, how it ends, and what it leaves behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from pydantic import BaseModel

from bench.util import processes
from bench.util.processes import Child, Parent
from bench.util.warm import Server
from tests.bench.command import wait_for


class Word(BaseModel):
    word: str


def nothing() -> None:
    pass


def gone(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def told_by(main: Callable[[], None], job: object = None, **more: object) -> tuple[list[str], Child]:
    child = Child(main, {}, **more)  # type: ignore[arg-type]
    child.send(job)
    return [line.decode() for line in child.messages(nothing)], child


def echo() -> None:
    parent = Parent()
    os.write(1, b"printed\n")
    parent.tell(Word(word=str(parent.job)))


def test_a_fork_gets_its_job_and_sends_and_prints() -> None:
    printed: list[bytes] = []
    told, child = told_by(echo, {"a": "x" * 100_000}, output=printed.append)
    assert told == ['{"word": "' + str({"a": "x" * 100_000}) + '"}']
    assert b"".join(printed) == b"printed\n" and child.exit_status == 0


def test_how_it_ended_is_told() -> None:
    assert told_by(lambda: os._exit(7))[1].how_it_ended == "it left with exit status 7"
    assert told_by(lambda: os.kill(os.getpid(), 9))[1].how_it_ended == "killed by signal 9 (SIGKILL)"


def forking() -> None:
    parent = Parent()
    left = os.fork()
    if not left:
        time.sleep(60)
        os._exit(0)
    parent.tell(Word(word=str(left)))


def test_what_it_leaves_behind_is_ended() -> None:
    (told,), child = told_by(forking)
    left = int(Word.model_validate_json(told).word)
    assert child.left_behind == {left}
    wait_for(lambda: gone(left))


def soon_over() -> None:
    Parent()
    if not os.fork():
        time.sleep(0.5)
        os._exit(0)


def test_what_ends_by_itself_in_time_is_not_left_behind() -> None:
    assert told_by(soon_over, ending=20.0)[1].left_behind == set()
    assert told_by(soon_over)[1].left_behind != set()


def endless() -> None:
    parent = Parent()
    while parent.tell(Word(word="more")):
        pass
    time.sleep(60)


def test_a_reader_that_goes_ends_the_child() -> None:
    child = Child(endless, {})
    child.send(None)
    for _ in child.messages(nothing):
        break
    assert child._process.poll() is not None


def deaf() -> None:
    Parent()
    time.sleep(60)


def listening() -> None:
    parent = Parent()
    parent.on_stop(lambda: os._exit(5))
    time.sleep(60)


@pytest.mark.parametrize(("main", "status"), [(deaf, -9), (listening, 5)])
def test_a_child_that_does_not_stop_when_asked_is_ended(main: Callable[[], None], status: int) -> None:
    child = Child(main, {}, patience=1.0)
    child.send(None)
    started = time.monotonic()
    for _ in child.messages(child.ask_to_stop):
        pass
    assert child.exit_status == status and time.monotonic() - started < 30


def shouting() -> None:
    file = int(os.environ[processes.EVENTS])
    Parent()
    for _ in range(40):
        os.write(file, b"x" * 10_000)
    os.write(file, b"\nend\n")


def test_a_message_that_is_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LONGEST_MESSAGE", 100_000)
    told, _ = told_by(shouting)
    assert sum(map(len, told)) == 400_003 and told[-1] == "end"
    assert max(map(len, told)) <= 100_000 + (1 << 16)


def test_a_module_runs_under_our_interpreter_in_its_own_folder(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pydantic import BaseModel\nfrom bench.util.processes import Parent\n"
        "class Word(BaseModel):\n    word: str\n"
        "parent = Parent()\nparent.tell(Word(word=f'{sys.executable} {os.getcwd()} {parent.job}'))\n"
    )
    (tmp_path / "told.py").write_text(code)
    child = Child("told", {"PYTHONPATH": str(tmp_path)}, folder=tmp_path)
    child.send(5)
    (line,) = child.messages(nothing)
    assert Word.model_validate_json(line).word == f"{sys.executable} {tmp_path} 5"


@pytest.mark.skipif(sys.platform != "linux", reason="the warm server is for Linux")
def test_a_server_that_has_ended_costs_time_only(tmp_path: Path) -> None:
    code = (
        "from pydantic import BaseModel\nfrom bench.util.processes import Parent\n"
        "class Word(BaseModel):\n    word: str\n"
        "def main():\n    parent = Parent()\n    parent.tell(Word(word=f'{parent.job}'))\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    (tmp_path / "told.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    server = Server(["json"], environment)
    for killed in (False, True):
        if killed:
            server._process.kill()
            server._process.wait()
        child = Child("told", environment, server=server)
        child.send(5)
        assert [Word.model_validate_json(line).word for line in child.messages(nothing)] == ["5"]
