"""Training curves in TensorBoard's own files, read back by its own reader."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.errors import BenchError
from bench.review.status import cell_folders
from bench.run.tensorboard import EventFiles

CELL = Path("mnist/pixel-0.8/prflow/seed-0")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by tag."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_losses_by_epoch_and_scores(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    result: dict[str, Any] = {
        "fit": {"history": [{"J": 3.0, "lambda J3": 1.5}, {"J": 2.0}, "odd"]},
        "metrics": {"rmse": {"value": 0.25}, "fid": {"value": None, "reason": "no judge"}},
    }
    files = EventFiles(tmp_path)
    # A cell that is run again has one curve, not two.
    for _ in range(2):
        files.write(CELL, result)
    assert scalars(tmp_path / "tensorboard" / CELL) == {
        "loss/J": [(1, 3.0), (2, 2.0)],
        "loss/lambda J3": [(1, 1.5)],
        "score/rmse": [(2, 0.25)],
    }


def test_a_cell_without_numbers_has_no_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    EventFiles(tmp_path).write(CELL, {"status": "failed", "error": "it broke"})
    assert not (tmp_path / "tensorboard").exists()


def test_run_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    arguments = "run --methods mean --dataset mnist --rates 0.8 --preset smoke --train 40 --test 20"
    with pytest.raises(SystemExit) as ended:
        main([*arguments.split(), "--tensorboard", "--results", str(tmp_path / "runs")])
    assert ended.value.code == 0
    (events,) = (tmp_path / "runs" / "tensorboard").rglob("events.out.*")
    assert set(scalars(events.parent)) == {"score/rmse", "score/scc"}
    # Its folders have the names of cells' and are none.
    (cell,) = cell_folders(tmp_path / "runs")
    assert (cell / "result.json").is_file()


def test_without_tensorboard_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match="pip install tensorboard"):
        EventFiles(tmp_path)
