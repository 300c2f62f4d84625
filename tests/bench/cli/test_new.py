"""What `bench new` writes works as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from tests.bench.installed import bench


def new(name: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["new", name])
    return int(left.value.code or 0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.process
def test_the_method_runs_and_its_test_passes_as_written(folder: Path) -> None:
    assert new("my_method") == 0
    environment = os.environ | {"BENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "test_my_method.py"]
    tested = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout
    arguments = "--plugin my_method.py --methods my_method --dataset mnist --rates 0.8 --preset smoke"
    done = bench(folder, "run", *arguments.split(), "--train", "100", "--test", "100")
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "results" / "runs").rglob("result.json"))) == 1


def test_nothing_is_written_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "test_mine.py").write_text("mine")
    assert new("mine") == 2
    assert "test_mine.py exists already" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["test_mine.py"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("1st", "cannot name a Python file"),
        ("my-method", "cannot name a Python file"),
        ("class", "cannot name a Python file"),
        ("__", "cannot name a Python file"),
        ("json", "the name of an installed Python package"),
        ("mcflow", "is taken by bench.methods.mcflow:MCFlow"),
    ],
)
def test_a_name_that_cannot_be_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    assert new(name) == 2
    assert reason in capsys.readouterr().err
    assert not list(folder.iterdir())
