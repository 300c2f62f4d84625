"""Runs that are stopped, killed, run into each other or out of disk: nothing is lost, doubled or damaged."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.errors import BenchError
from bench.store.cell_folder import CellFolder, Held
from tests.bench.command import Bench, wait_for
from tests.bench.report.stored import result

DEAF = """
open("begun.txt", "w").write(str(os.getpid()))
time.sleep(600)
"""

STUBBORN = """
import subprocess
hidden = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
open("hidden.txt", "w").write(str(hidden.pid))
open("begun.txt", "w").write(str(os.getpid()))
while True:
    context.stop_requested()
    time.sleep(0.01)
"""


def begun(bench: Bench) -> int:
    """The number of the method's process, once its fit has begun."""
    file = bench.folder / "begun.txt"
    wait_for(lambda: file.exists() and file.read_text())
    return int(file.read_text())


def gone(number: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return bool(psutil.Process(number).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_second_interrupt_ends_a_method_that_will_not_stop(bench: Bench) -> None:
    bench.plugin(STUBBORN.strip())
    process = bench.start()
    method = begun(bench)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    seen = ""
    while "once more ends them at once" not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    assert not gone(method)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=25)
    assert process.returncode == 130, output
    assert gone(method) and not bench.results()
    # In a session of its own and without our mark, it is known by its parents alone.
    wait_for(lambda: gone(int((bench.folder / "hidden.txt").read_text())), 10)


def test_a_method_that_never_asks_ends_with_its_killed_parents(bench: Bench) -> None:
    bench.plugin(DEAF.strip())
    process = bench.start()
    method = begun(bench)
    for one in [*psutil.Process(process.pid).children(), psutil.Process(process.pid)]:
        one.kill()
    process.wait()
    wait_for(lambda: gone(method), 20)


def test_a_stopped_run_goes_on_where_it_was(bench: Bench) -> None:
    bench.walk()
    settings = ["--methods", "walk", "--set", "walk.steps=60", "--set", "walk.seconds=6"]
    process = bench.start(*settings)
    wait_for(lambda: any((bench.folder / "results").rglob("checkpoint-000010.json")))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on with it" in output
    kept = max((bench.folder / "results").rglob("checkpoint-*.json"))
    before = json.loads(kept.read_text())["seconds"]
    status, output = bench.run(*settings)
    assert status == 0, output
    (result,) = bench.results()
    assert result["cost"]["steps"] == 60
    # The steps before the stop cost their time too.
    assert result["cost"]["fit_seconds"] > before + 0.1 * (60 - int(kept.stem[-6:])) - 0.2


def test_a_rerun_that_is_stopped_leaves_what_was_stored(bench: Bench) -> None:
    bench.walk()
    assert bench.run("--methods", "walk", "--set", "walk.seconds=3")[0] == 0
    cell = bench.cell()
    before = {
        path.name: path.read_bytes() for path in cell.iterdir() if path.suffix in (".npy", ".npz", ".json")
    }
    assert {*before} == {"imputed.npy", "samples.npz", "per-image.npz", "result.json"}
    process = bench.start("--methods", "walk", "--set", "walk.seconds=3", "--rerun")
    wait_for(lambda: any(cell.rglob("checkpoint-000010.json")))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; the same command begins it again; what was stored before stays" in output
    assert {name: (cell / name).read_bytes() for name in before} == before
    assert not (cell / "fresh").exists()


def test_what_a_run_wrote_replaces_all_of_an_earlier_one_s(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, Path("cell"))
    folder.fresh.mkdir(parents=True)
    for name in ("imputed.npy", "samples.npz"):
        (folder.path / name).write_text("old")
    (folder.fresh / "imputed.npy").write_text("new")
    with folder.claimed():
        folder.store(result("mean"))
    assert {path.name for path in folder.path.iterdir()} == {".lock", "imputed.npy", "result.json"}
    assert folder.imputed.read_text() == "new"


def test_two_runs_on_one_folder_share_its_cells(bench: Bench) -> None:
    bench.plugin("open('fits.txt', 'a').write(f'{context.seed} '); time.sleep(3)")
    runs = [bench.start("--seeds", "0,1,2") for _ in range(2)]
    outputs = [run.communicate(timeout=280)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert sorted((bench.folder / "fits.txt").read_text().split()) == ["0", "1", "2"]
    assert len(bench.results()) == 3
    assert any("another run has it; waiting" in output for output in outputs)


HOLD = """
import sys
from pathlib import Path
from bench.store.cell_folder import CellFolder
with CellFolder(Path(sys.argv[1]), Path("cell")).claimed():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_held_cell_says_so_and_is_not_held_twice(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, Path("cell"))
    assert not folder.running()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    assert folder.running() and folder.running()
    with pytest.raises(Held), folder.claimed():
        pass
    holder.kill()
    holder.wait()
    assert not folder.running()
    with folder.claimed():
        pass
    assert [path.name for path in folder.path.iterdir()] == [".lock"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(file: object, kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(BenchError, match=r"its file system has no locks.*--results"),
        CellFolder(tmp_path, Path("cell")).claimed(),
    ):
        pass


def test_who_looks_on_needs_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CellFolder(tmp_path, Path("cell"))
    with folder.claimed():
        pass

    def refuse(file: object, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not folder.running()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, whose size and rights can be changed."""
    place = tmp_path / "results"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a file system here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def change(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", "none", disk], check=True)


def test_a_full_or_read_only_disk_is_one_line_and_harms_nothing(bench: Bench, disk: Path) -> None:
    bench.walk()
    bench.plugin()
    assert bench.run("--methods", "constant")[0] == 0
    before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
    used = sum(4096 * -(-len(content) // 4096) for content in before.values()) // 1024
    for options, reason in (
        (f"size={used + 60}k", r"No space left on device|the disk may be full"),
        ("ro", "Read-only file system"),
    ):
        change(disk, options)
        status, output = bench.run("--methods", "constant,walk", "--set", "constant.value=0.5")
        assert status == 2, output
        (error,) = [line for line in output.splitlines() if line.startswith("error: ")]
        assert re.search(reason, error) and str(disk) in error and "choose another folder" in error
        assert options != "ro" or output.splitlines() == [error], "nothing can be begun there"
        assert all(path.read_bytes() == content for path, content in before.items())
        assert [path.name for path in disk.rglob("result.json")] == ["result.json"]
    change(disk, "rw,size=40m")
    status, output = bench.run("--methods", "constant,walk", "--set", "constant.value=0.5")
    assert status == 0, output
    assert len(bench.results()) == 3
    assert not [*disk.rglob(".*-????????")]


def test_a_checkpoint_that_finds_no_room_ends_the_run_not_the_cell(bench: Bench, disk: Path) -> None:
    bench.walk()
    change(disk, "size=36k")
    status, output = bench.run("--methods", "walk")
    assert status == 2 and "No space left on device" in output.splitlines()[-1], output
    assert not bench.results()
    change(disk, "size=40m")
    assert bench.run("--methods", "walk")[0] == 0


def test_a_full_cache_ends_the_run_not_the_cell(bench: Bench, disk: Path) -> None:
    bench.plugin()
    bench.environment["BENCH_CACHE"] = str(disk / "cache")
    change(disk, "size=220k")
    status, output = bench.run()
    assert status == 2, output
    error = output.splitlines()[-1]
    assert "No space left on device" in error or "the disk may be full" in error
    assert str(disk / "cache") in error and "set BENCH_CACHE to another folder" in error
    assert not bench.results()
    change(disk, "size=40m")
    assert bench.run()[0] == 0
