"""`bench plan`, `status` and `show` on stored results, each differing from what would run in one thing."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.datasets import load
from bench.grid.estimates import duration, side_by_side
from bench.problem.posing import Problem, facts_of, pose
from bench.store import keys
from bench.store.keys import Same, key_of
from tests.plugin_files import code_of

GRID = "--dataset mnist --rates 0.5 --train 20 --test 10"
PLUGIN = code_of("depth")


@dataclass
class Folder:
    """A working folder whose results hold one done cell, of the plugin `own`."""

    path: Path
    plugin: Path

    @property
    def cell(self) -> Path:
        return self.path / "results/runs/mnist/pixel-0.5/own@train=20,test=10/seed-0"

    def call(self, line: str) -> tuple[int, list[str]]:
        printed = io.StringIO()
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            pytest.raises(SystemExit) as left,
        ):
            main([*shlex.split(line), "--plugin", str(self.plugin)])
        return int(left.value.code or 0), printed.getvalue().splitlines()

    def change(self, change: Callable[[dict[str, Any]], object]) -> None:
        path = self.cell / "result.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    def status(self, also: str = "") -> tuple[int, list[str]]:
        return self.call(f"status {GRID} --methods own {also}")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Results of one honest run."""
    folder = tmp_path_factory.mktemp("done")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        (folder / "own.py").write_text(PLUGIN)
        call = f"run {GRID} --methods own --device cpu --threads 1 --results kept --plugin own.py"
        with pytest.raises(SystemExit) as left, contextlib.redirect_stderr(io.StringIO()):
            main(shlex.split(call))
        assert left.value.code == 0
        yield folder


@pytest.fixture
def folder(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv("BENCH_CACHE", str(done / "cache"))
    monkeypatch.chdir(tmp_path)
    # One file for all tests, so that its method is asked about itself once.
    new = Folder(tmp_path, done / "own.py")
    new.cell.mkdir(parents=True)
    (kept,) = (done / "kept").rglob("result.json")
    (new.cell / "result.json").write_bytes(kept.read_bytes())
    (new.cell / "log.txt").write_text("begun\n\x1b[2Jended\n")
    return new


def test_what_was_run_is_done(folder: Folder) -> None:
    title = "own@train=20,test=10 mnist pixel-0.5 seed 0"
    assert folder.status() == (0, [f"done      {title}", "1 cell: 1 done"])
    # Without a grid, all that is stored is looked at, and compared with what would run now.
    assert folder.call("status") == (0, [f"done      {title}", "1 cell: 1 done"])


def altered(*path: str, to: Any) -> Callable[[dict[str, Any]], object]:
    def change(document: dict[str, Any]) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = to

    return change


ZEROS = "sha256:" + "0" * 64


def test_it_says_how_many_count_by_an_older_key(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = json.loads((folder.cell / "result.json").read_text())
    older = "sha256:" + "1" * 64
    parts = {name: stored["problem"][name] for name in ("fingerprint", "observed")}
    old_key = key_of(source=older, protocol=1, seed=0, settings=stored["method"]["settings"], **parts)
    folder.change(altered("schema", to=1))
    folder.change(altered("method", "source", to=older))
    folder.change(altered("key", to=old_key))
    # A method that the shipped table does not know: its old results are outdated.
    assert folder.status()[1][-1] == "1 cell: 1 outdated"
    known = {"own": Same(stored["method"]["source"], frozenset({older}))}
    monkeypatch.setattr(keys, "same_numbers", lambda: known)
    told = (
        "1 result was stored under an older key; the code that made it gives the same numbers, so it counts."
    )
    assert folder.status()[1][1:] == ["1 cell: 1 done", told]
    assert folder.call(f"plan {GRID} --methods own")[1][0].startswith("done")
    before = (folder.cell / "result.json").read_bytes()
    assert folder.call(f"run {GRID} --methods own --device cpu")[0] == 0
    assert (folder.cell / "result.json").read_bytes() == before
    known["own"] = Same("ast:0", frozenset({older}))
    assert folder.status()[1][-1] == "1 cell: 1 outdated"


def test_a_result_of_something_else_says_what_differs(folder: Folder) -> None:
    """All that can differ is tested in tests/bench/grid/test_counting.py."""
    folder.change(altered("method", "settings", "depth", to=2))
    status, lines = folder.status()
    assert status == 1 and lines[-1] == "1 cell: 1 outdated"
    assert lines[0].startswith("outdated  own@")
    assert lines[1].strip() == "- setting depth: 2 stored, 3 now" and len(lines) == 3


def test_the_plugin_s_own_change_is_seen(folder: Folder) -> None:
    folder.plugin = folder.path / "own.py"
    folder.plugin.write_text(PLUGIN.replace("0.5", "0.25").replace("depth: int = 3", "depth: int = 4"))
    _, lines = folder.status()
    assert lines[1].strip() == "- setting depth: 3 stored, 4 now"
    assert lines[2].strip().startswith("- the method's code changed")


def test_failed_missing_unfinished_and_running_cells(folder: Folder) -> None:
    folder.change(lambda document: document.update(status="timeout", error="late", metrics={}))
    with (folder.cell / ".lock").open("w") as lock:
        assert folder.status()[1][0].startswith("failed    own@")
        assert folder.status()[1][1].strip() == "- timeout: late"
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder.cell / "progress.json").write_text('{"progress": {"epoch": 2, "epochs": 9, "step": 40}}')
        status, lines = folder.status("--seeds 0,1")
        assert status == 1 and lines[0].startswith("running   own@")
        assert "epoch 2 of 9" in lines[1]
        assert lines[-2].startswith("missing   own@") and lines[-2].endswith("seed 1")
        assert lines[-1] == "2 cells: 1 running, 1 missing"
    (folder.cell / "result.json").unlink()
    (folder.cell / "checkpoints" / "abc").mkdir(parents=True)
    (folder.cell / "checkpoints" / "abc" / "checkpoint-1.json").write_text("{}")
    _, lines = folder.status()
    assert lines[0].startswith("missing") and "goes on from its checkpoint" in lines[1]


def test_a_fit_that_ended_early_is_told(folder: Folder) -> None:
    folder.change(lambda stored: stored["fit"].update(stopped="deadline reached in epoch 1 of 4"))
    status, lines = folder.call("status")
    assert status == 0
    assert any("ended early (deadline reached in epoch 1 of 4)" in line for line in lines)


def test_cells_on_another_disk_that_a_link_leads_to_are_told_of(folder: Folder) -> None:
    runs = folder.path / "results/runs"
    (folder.path / "results/measured").mkdir()
    (runs / "mnist").rename(folder.path / "disk")
    (runs / "mnist").symlink_to(folder.path / "disk")
    title = "own@train=20,test=10 mnist pixel-0.5 seed 0"
    assert folder.call("status") == (0, [f"done      {title}", "1 cell: 1 done"])
    status, lines = folder.call(f"show {folder.cell.relative_to(runs)}")
    assert status == 0 and lines[0] == f"{title}: done"


def test_a_checkout_without_runs_tells_of_the_measured_results(folder: Folder) -> None:
    cell = folder.cell.relative_to(folder.path / "results/runs")
    (folder.path / "results/measured").mkdir()
    (folder.path / "results/runs").rename(folder.path / "results/measured/quick")
    status, lines = folder.call("status")
    assert status == 0 and lines[-1] == "1 cell: 1 done"
    status, lines = folder.call(f"show quick/{cell}")
    assert status == 0 and "own@train=20,test=10 mnist pixel-0.5 seed 0: done" in lines
    assert folder.call("show own")[0] == 2


def test_a_method_that_is_not_here_cannot_be_compared(folder: Folder) -> None:
    folder.change(altered("cell", "method", to="gone"))
    status, lines = folder.call("status")
    assert status == 0 and lines[0].startswith("done ")
    assert "cannot be compared" in lines[1] and "unknown method 'gone'" in lines[1]


def test_images_of_one_s_own_that_are_not_here_do_not_stop_the_others(folder: Folder) -> None:
    other = folder.cell.parents[2].with_name("faces") / "pixel-0.5" / folder.cell.parent.name / "seed-0"
    other.mkdir(parents=True)
    document = json.loads((folder.cell / "result.json").read_text())
    document["cell"]["dataset"] = "faces"
    (other / "result.json").write_text(json.dumps(document))
    status, lines = folder.call("status")
    assert status == 0 and lines[-1] == "2 cells: 2 done"
    assert lines[1].strip().startswith("- its pixels were not compared: unknown data set 'faces'")


def test_pixels_that_cannot_be_compared_are_told_without_what_a_terminal_would_obey(folder: Folder) -> None:
    folder.change(altered("cell", "dataset", to="faces"))
    (folder.path / "faces").mkdir()
    for name in ("b\x1b]0;owned\x07X.png", "c.png"):
        (folder.path / "faces" / name).write_bytes(b"no image")
    _, lines = folder.call("status")
    assert lines[1].strip().startswith("- its pixels were not compared: faces/bX.png is not a complete image")
    assert all(line.isprintable() for line in lines)


def test_the_plan_marks_what_is_done_and_takes_time_from_cells_like_it(folder: Folder) -> None:
    folder.change(lambda document: document["cost"].update(fit_seconds=600.0, impute_ms_per_image=6000.0))
    other = folder.cell.parents[2] / "pixel-0.6" / folder.cell.parent.name / "seed-3"
    other.mkdir(parents=True)
    document = json.loads((folder.cell / "result.json").read_text())
    document["cell"] |= {"rate": 0.6, "seed": 3}
    document["cost"]["fit_seconds"] = 1200.0
    (other / "result.json").write_text(json.dumps(document))
    before = sorted(folder.path.rglob("*"))
    status, lines = folder.call(f"plan {GRID} --methods own,mean --seeds 0,1")
    assert status == 0 and sorted(folder.path.rglob("*")) == before
    # (600 + 1200) / 2 seconds of fitting and 10 images at 6 seconds: 960 s, whatever the rate and seed.
    times = [(line.split()[0], " ".join(line.split()[1:-5])) for line in lines[:4]]
    assert times == [("done", "16 min"), ("missing", "?"), ("missing", "16 min"), ("missing", "?")]
    assert lines[4:] == [
        "4 cells, 1 done, 3 to run",
        "about 16 min for 1 of them, one after the other",
        "no stored cell tells the time of 2 of them (?)",
    ]


def planned(folder: Folder, also: str = "") -> tuple[str, list[str]]:
    """How the plan marks the cell, and what follows the list."""
    status, lines = folder.call(f"plan {GRID} --methods own {also}")
    assert status == 0
    return lines[0].split()[0], [line for line in lines[1:] if not line.startswith("about ")]


def test_the_plan_counts_no_failed_cell_as_one_to_run(folder: Folder) -> None:
    folder.change(lambda document: document.update(status="failed", error="no luck", metrics={}))
    again = "`bench run --rerun failed` tries the failed ones again"
    assert planned(folder) == ("failed", ["1 cell, 0 done, 1 failed, 0 to run", again])
    # A run tries another failure again: it is none of what would run now.
    folder.change(altered("key", to=ZEROS))
    mark, lines = planned(folder)
    assert mark == "outdated" and lines[0] == "1 cell, 0 done, 1 to run"


def test_the_plan_looks_at_the_deadline_and_the_precision_that_are_asked_for(folder: Folder) -> None:
    (folder.path / "sixty.yaml").write_text("timeout: 60\n")
    folder.change(lambda stored: stored["fit"].update(stopped="deadline reached in epoch 1 of 4"))
    folder.change(altered("provenance", to={"timeout": 60.0, "precision": "bfloat16"}))
    for given, mark in (
        ("", "outdated"),
        ("--suite sixty.yaml", "done"),
        ("--suite sixty.yaml --timeout 90", "outdated"),
        ("--timeout 60 --precision float32", "outdated"),
        ("--timeout 60 --precision bfloat16", "done"),
    ):
        done = int(mark == "done")
        marked, lines = planned(folder, given)
        assert marked == mark and lines[0] == f"1 cell, {done} done, {1 - done} to run"


def test_the_plan_counts_cells_that_run_at_a_time_once(folder: Folder) -> None:
    folder.change(lambda document: document["cost"].update(fit_seconds=960.0, impute_ms_per_image=0.0))
    suite = folder.path / "pair.yaml"
    suite.write_text("jobs: 2\n")
    # Three cells of 16 minutes are open: two rounds of two, where the command line does not say otherwise.
    for given, told in (
        (f"--suite {suite}", "32 min for 3 of them, 2 at a time"),
        (f"--suite {suite} --jobs 3", "16 min for 3 of them, 3 at a time"),
        ("", "48 min for 3 of them, one after the other"),
    ):
        status, lines = folder.call(f"plan {GRID} --methods own --seeds 0,1,2,3 {given}")
        assert status == 0 and lines[4:] == ["4 cells, 1 done, 3 to run", f"about {told}"]


@pytest.mark.parametrize(
    ("seconds", "jobs", "whole"),
    [
        ([], 2, 0),
        ([5, 4, 3], 1, 12),
        # One place is taken by the first till 10; the other has 1 + 1 + 1.
        ([10, 1, 1, 1], 2, 10),
        # In their order, not the best one: 1 and 1 side by side, and the long one begins at 1.
        ([1, 1, 10], 2, 11),
        # 0-3, 0-2; then 2-6, 3-4; then 4-9.
        ([3, 2, 4, 1, 5], 2, 9),
        ([7, 2], 8, 7),
    ],
)
def test_cells_side_by_side(seconds: list[float], jobs: int, whole: float) -> None:
    assert side_by_side(seconds, jobs) == whole


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "<1 s"),
        (42.4, "42 s"),
        (99.4, "99 s"),
        (150, "2 min"),
        (5999, "1 h 40 min"),
        (12_000, "3 h 20 min"),
    ],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_show_tells_all_there_is(folder: Folder) -> None:
    def fail(document: dict[str, Any]) -> None:
        document.update(status="failed", error="\x1b[31mbad\x1b[0m", traceback="Traceback:\n  \x07File x\n")

    folder.change(fail)
    status, lines = folder.call(f"show {folder.cell.relative_to(folder.path / 'results/runs')}")
    assert status == 1
    text = "\n".join(lines)
    assert all(line.isprintable() for line in lines)
    assert lines[0] == "own@train=20,test=10 mnist pixel-0.5 seed 0: failed"
    for part in ("failed: bad", "Traceback:", "    File x", "depth", "fingerprint", "torch", "  ended"):
        assert part in text, part
    by_path = folder.call(f"show {folder.cell}")
    assert by_path == (status, lines)
    assert folder.call(f"show {folder.cell}/result.json") == by_path


def test_an_output_without_a_dash_is_shown_the_rest(folder: Folder) -> None:
    folder.change(altered("problem", "official", to=None))
    output = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    with contextlib.redirect_stdout(output), pytest.raises(SystemExit) as left:
        main(["show", str(folder.cell), "--plugin", str(folder.plugin)])
    output.seek(0)
    shown = [line.split() for line in output.read().splitlines()]
    assert left.value.code == 0 and ["official", "?"] in shown and ["ended"] in shown


def test_show_does_not_follow_a_link_out_of_the_results(folder: Folder) -> None:
    secret = folder.path / "secret"
    secret.mkdir()
    (secret / "log.txt").write_text("not for others")
    (folder.cell.parent / "seed-9").symlink_to(secret)
    name = folder.cell.relative_to(folder.path / "results/runs").with_name("seed-9")
    status, lines = folder.call(f"show {name}")
    assert status == 2 and "not for others" not in "\n".join(lines)


@pytest.mark.parametrize("rate", [0.25, 0.8])
def test_facts_are_those_of_the_posed_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    problem = Problem("mnist", rate=rate, seed=5, train=30, test=20)
    asked = facts_of(problem)
    assert not (tmp_path / "cache").exists()
    assert pose(problem).facts == asked == facts_of(problem)
    assert asked["fingerprint"] == load("mnist").fingerprint
