"""Runs on machines between whose locks there is no connection: each cell is run once all the same."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.store import presence
from bench.store.cell_folder import CellFolder, Held
from bench.store.presence import Presence
from tests.bench.command import Bench

MACHINE = """
import fcntl, os, socket
fcntl.flock = lambda file, kind: None
socket.gethostname = lambda: os.environ["MACHINE"]
"""
"""A machine whose locks no other sees: what `sitecustomize.py` does before anything else runs."""


@pytest.mark.process
def test_two_machines_without_common_locks_share_the_cells(bench: Bench, tmp_path: Path) -> None:
    bench.plugin("open('fits.txt', 'a').write(f'{context.seed} '); time.sleep(3)")
    machine = tmp_path / "machine"
    machine.mkdir()
    (machine / "sitecustomize.py").write_text(MACHINE)
    runs = []
    for name in ("one", "two"):
        bench.environment |= {"PYTHONPATH": str(machine), "MACHINE": name}
        runs.append(bench.start("--seeds", "0,1,2"))
    outputs = [run.communicate(timeout=280)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert sorted((bench.folder / "fits.txt").read_text().split()) == ["0", "1", "2"]
    assert len(bench.results()) == 3
    assert any("another run has it; waiting" in output for output in outputs)
    assert not [*tmp_path.rglob(".holder")]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is called `here`, and three seconds in place of a minute."""
    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(presence, "SILENT_SECONDS", 3.0)
    monkeypatch.setattr(presence, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(socket, "gethostname", lambda: "here")


def at(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Presence:
    """A holder on a machine of another name."""
    with monkeypatch.context() as there:
        there.setattr(socket, "gethostname", lambda: name)
        return Presence(folder)


@pytest.mark.usefixtures("quick")
def test_a_cell_that_a_distant_machine_runs_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CellFolder(tmp_path, Path("cell"))
    folder.path.mkdir()
    distant = at("there", folder.path, monkeypatch)
    assert distant.begin()
    for _ in range(2):
        with pytest.raises(Held), folder.claimed():
            pass
        assert folder.running()
    distant.end()
    assert not folder.running()
    with folder.claimed():
        pass
    assert [path.name for path in folder.path.iterdir()] == [".lock"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("name", "least", "most"), [("here", 0.0, 3.0), ("there", 3.0, 60.0)])
def test_what_a_killed_run_held_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, least: float, most: float
) -> None:
    folder = CellFolder(tmp_path, Path("cell"))
    folder.path.mkdir()
    killed = at(name, folder.path, monkeypatch)
    monkeypatch.setattr(killed, "_beats", threading.Thread(target=lambda: None))
    assert killed.begin()
    started = time.monotonic()
    with folder.claimed():
        # The lock tells at once that a run at this place has ended; of another's only silence does.
        assert least <= time.monotonic() - started < most


@pytest.mark.usefixtures("quick")
def test_who_finds_a_mark_silent_too_late_leaves_the_next_holder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, quicker, later = (at(name, tmp_path, monkeypatch) for name in ("gone", "quicker", "later"))
    monkeypatch.setattr(gone, "_beats", threading.Thread(target=lambda: None))
    assert gone.begin()

    def silent(left: bytes, leaving: Callable[[], bool]) -> bool:
        """Long enough for the other to find the same, and to take over."""
        assert quicker.begin()
        return True

    monkeypatch.setattr(later, "_silent", silent)
    assert not later.begin()
    assert quicker.stands
    quicker.end()
    assert not [*tmp_path.iterdir()]


@pytest.mark.usefixtures("quick")
def test_of_two_that_come_at_once_one_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = [at(f"machine-{number}", tmp_path, monkeypatch) for number in range(8)]
    ready, held = threading.Barrier(len(crowd)), []

    def come(one: Presence) -> None:
        ready.wait()
        held.append(one.begin())

    threads = [threading.Thread(target=come, args=[one]) for one in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(held) == [False] * 7 + [True]


@pytest.mark.usefixtures("quick")
def test_a_machine_that_slept_stores_nothing_over_the_next_ones_result(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, Path("cell"))
    other = '{"status": "ok", "from": "there"}'
    with folder.claimed():
        (folder.path / ".holder").write_text("there 0 0 0123456789abcdef 000000007\n")
        (folder.path / "result.json").write_text(other)
        with pytest.raises(Held):
            folder.store({"status": "ok"})
        time.sleep(0.5)
    assert (folder.path / "result.json").read_text() == other
    assert (folder.path / ".holder").read_text().startswith("there ")


@pytest.mark.usefixtures("quick")
def test_who_leaves_does_not_wait_for_a_machine_that_may_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "SILENT_SECONDS", 600.0)
    folder = CellFolder(tmp_path, Path("cell"))
    folder.path.mkdir()
    killed = at("there", folder.path, monkeypatch)
    monkeypatch.setattr(killed, "_beats", threading.Thread(target=lambda: None))
    assert killed.begin()
    with pytest.raises(Held), folder.claimed(lambda: True):
        pass


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("moved", [False, True])
def test_a_mark_that_is_gone_is_put_back(
    tmp_path: Path, moved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CellFolder(tmp_path, Path("cell"))
    mark = folder.path / ".holder"
    with folder.claimed():
        if moved:
            folder.path.rename(tmp_path / "elsewhere")
        else:
            mark.unlink()
        time.sleep(0.6)
        assert mark.exists() and not at("there", folder.path, monkeypatch).begin()
        mark.unlink()
        folder.store({"status": "failed", "error": "x"})
    assert (folder.path / "result.json").exists() and not mark.exists()


@pytest.mark.usefixtures("quick")
def test_a_mark_that_went_while_the_machine_slept_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = at("here", tmp_path, monkeypatch)
    monkeypatch.setattr(slept, "_beats", threading.Thread(target=lambda: None))
    assert slept.begin()
    (tmp_path / ".holder").unlink()
    awake = presence._now
    monkeypatch.setattr(presence, "_now", lambda: awake() + 4)
    assert not slept.stands and not (tmp_path / ".holder").exists()
