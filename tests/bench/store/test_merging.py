"""`bench merge`: what is copied, what is passed over, and what happens when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.store.merging import copy, plan_merge
from bench.store.results import read_result
from tests.bench.report.stored import failed, result

KEY = "sha256:" + "1" * 64


def put(root: Path, document: dict[str, Any], files: dict[str, bytes] | None = None) -> Path:
    """A cell's folder, as a run leaves it."""
    cell = document["cell"]
    folder: Path = root / cell["dataset"] / f"{cell['mechanism']}-{cell['rate']:g}"
    folder = folder / cell["method"] / f"seed-{cell['seed']}"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"key": KEY} | document))
    for name, content in {"log.txt": b"a log", "samples.npz": b"samples", ".lock": b""}.items():
        (folder / name).write_bytes(content)
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
    return folder


def merge(target: Path, *sources: Path) -> tuple[list[str], list[str], list[str]]:
    """What was copied, what was passed over and why, what was refused."""
    steps, faults = plan_merge(sources, target)
    if not faults:
        for step in steps:
            if not step.reason:
                copy(step, target)
    copied = [str(step.cell) for step in steps if not step.reason]
    return copied, [step.reason for step in steps if step.reason], faults


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_machines_cells_come_together_whole(tmp_path: Path) -> None:
    put(tmp_path / "one", result("prflow"), {"imputed.npy": b"x" * 100_000, "progress.json": b"{}"})
    put(tmp_path / "two", result("mcflow", seed=1))
    target = tmp_path / "all"
    copied, passed, faults = merge(target, tmp_path / "one", tmp_path / "two")
    assert copied == ["mnist/pixel-0.8/prflow/seed-0", "mnist/pixel-0.8/mcflow/seed-1"]
    assert not passed and not faults
    there = contents(target)
    for source in ("one", "two"):
        for name, content in contents(tmp_path / source).items():
            if not name.endswith((".lock", "progress.json")):
                assert there.pop(name) == content
    assert {Path(name).name for name in there} == {".lock"}


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path / "one", result("prflow"))
    merge(tmp_path / "all", tmp_path / "one")
    before = contents(tmp_path / "all")
    copied, passed, faults = merge(tmp_path / "all", tmp_path / "one")
    assert not copied and not faults and passed == [f"is the same in {tmp_path / 'all'}"]
    assert contents(tmp_path / "all") == before


def test_two_sources_that_agree_are_taken_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        put(tmp_path / name, result("prflow"))
    copied, passed, faults = merge(tmp_path / "all", tmp_path / "one", tmp_path / "two")
    assert len(copied) == 1 and passed == [f"is the same in {tmp_path / 'one'}"] and not faults


def test_two_sources_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "one", result("prflow", rmse=0.1))
    put(tmp_path / "two", result("prflow", rmse=0.2))
    put(tmp_path / "two", result("mcflow"))
    copied, _, faults = merge(tmp_path / "all", tmp_path / "one", tmp_path / "two")
    assert len(faults) == 1 and "two/mnist/pixel-0.8/prflow/seed-0" in faults[0]
    assert "rmse is 0.1 there, 0.2 here" in faults[0]
    assert not (tmp_path / "all").exists() and copied


def test_a_cell_that_failed_gives_way_to_one_that_did_not(tmp_path: Path) -> None:
    put(tmp_path / "one", failed("prflow", "no luck"))
    put(tmp_path / "two", result("prflow"))
    copied, _, faults = merge(tmp_path / "all", tmp_path / "one")
    assert copied and not faults
    copied, _, faults = merge(tmp_path / "all", tmp_path / "two")
    assert copied and not faults
    (path,) = (tmp_path / "all").rglob("result.json")
    assert read_result(path).ok
    # And never the other way round.
    copied, passed, faults = merge(tmp_path / "all", tmp_path / "one")
    assert not copied and not faults and "is failed" in passed[0]
    assert read_result(path).ok


def test_a_cell_that_failed_in_one_source_and_not_in_another_is_copied_once(tmp_path: Path) -> None:
    put(tmp_path / "one", failed("prflow", "no luck"))
    put(tmp_path / "two", result("prflow"))
    for order in (("one", "two"), ("two", "one")):
        target = tmp_path / f"all-{order[0]}"
        copied, passed, faults = merge(target, *(tmp_path / name for name in order))
        assert copied == ["mnist/pixel-0.8/prflow/seed-0"] and not faults
        assert len(passed) == 1 and f"is failed; {tmp_path / 'two'} holds" in passed[0]
        (path,) = target.rglob("result.json")
        assert read_result(path).ok


def test_what_has_no_result_yet_is_passed_over(tmp_path: Path) -> None:
    (put(tmp_path / "one", result("prflow")) / "result.json").unlink()
    copied, passed, faults = merge(tmp_path / "all", tmp_path / "one")
    assert not copied and not faults and passed == ["has no result yet"]


@pytest.mark.parametrize("part", ["mnist", "mnist/pixel-0.8", "mnist/pixel-0.8/prflow"])
def test_a_link_on_the_way_is_refused(tmp_path: Path, part: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    put(elsewhere, result("prflow"))
    source = tmp_path / "one"
    (source / part).parent.mkdir(parents=True)
    (source / part).symlink_to(elsewhere / part)
    _, _, faults = merge(tmp_path / "all", source)
    assert len(faults) == 1 and "is a link" in faults[0]
    assert not (tmp_path / "all").exists()


def test_a_file_that_became_a_link_since_it_was_looked_at_is_not_followed(tmp_path: Path) -> None:
    folder = put(tmp_path / "one", result("prflow"))
    (tmp_path / "secret").write_text("not for others")
    steps, faults = plan_merge([tmp_path / "one"], tmp_path / "all")
    assert not faults
    (folder / "log.txt").unlink()
    (folder / "log.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(BenchError, match="cannot be copied"):
        copy(steps[0], tmp_path / "all")
    assert b"not for others" not in b"".join(contents(tmp_path / "all").values())
    assert not [*(tmp_path / "all").rglob("result.json")]


@pytest.mark.parametrize("name", ["a b", "a\nb", ".hidden", "\x1b[2J", "é"])
def test_a_name_that_no_run_gives_is_refused(tmp_path: Path, name: str) -> None:
    document = result("prflow")
    document["cell"]["dataset"] = name
    put(tmp_path / "one", document)
    _, _, faults = merge(tmp_path / "all", tmp_path / "one")
    assert len(faults) == 1 and "is not a name that a run gives" in faults[0] and faults[0].isprintable()


def test_a_killed_merge_leaves_no_half_cell_and_the_next_one_ends_it(tmp_path: Path) -> None:
    """Killed each time that it has written one file more."""
    put(tmp_path / "one", result("prflow"), {"imputed.npy": bytes(300_000)})
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nimport bench.store.merging as merging\n"
        "left = int(sys.argv[3])\nreal = merging.write_atomically\n"
        "def counted(path, write):\n    global left\n    if not left: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    left -= 1\n    real(path, write)\n"
        "merging.write_atomically = counted\n"
        "steps, faults = merging.plan_merge([Path(sys.argv[1])], Path(sys.argv[2]))\n"
        "assert not faults\nmerging.copy(steps[0], Path(sys.argv[2]))\n"
    )
    target = tmp_path / "all"
    for files in range(4):
        call = [sys.executable, "-c", code, str(tmp_path / "one"), str(target), str(files)]
        done = subprocess.run(call, env=os.environ, capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not [*target.rglob("result.json")]
    copied, _, faults = merge(target, tmp_path / "one")
    assert copied and not faults
    (path,) = target.rglob("result.json")
    assert read_result(path).ok
