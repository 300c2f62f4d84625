"""What is run again and what is not: results count only where this run would have made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import worker
from bench.grid import Grid
from bench.jobs import Machine, new_job
from bench.plugins import describe, find_methods
from tests.bench.command import Bench

SLOW = """
from methods.training import train
self.weight = torch.nn.Linear(1, 1)
def step(indices, number):
    time.sleep(0.05)
    with torch.no_grad():
        self.weight.weight.add_(1)
    return {}
train(context, {"weight": self.weight}, step, count=len(train_images), batch_size=50, epochs=20)
context.facts["weight"] = float(self.weight.weight)
"""


def only(bench: Bench) -> dict[str, Any]:
    (result,) = bench.results()
    return result


def test_a_fit_that_its_deadline_ended_goes_on_under_a_longer_one(bench: Bench) -> None:
    bench.plugin(SLOW)
    plugin = bench.folder / "constant.py"
    plugin.write_text(plugin.read_text().replace("def fit(self, train,", "def fit(self, train_images,"))
    status, output = bench.run("--timeout", "1")
    assert status == 0, output
    first = only(bench)
    assert first["status"] == "ok" and "deadline reached" in first["fit"]["stopped"]
    status, output = bench.run("--timeout", "1")
    assert "done before" in output and only(bench) == first
    status, output = bench.run()
    whole = only(bench)
    assert "done before" not in output and "stopped" not in whole["fit"]
    # 20 epochs of three batches, some of them before the deadline.
    assert whole["fit"]["weight"] == pytest.approx(first["fit"]["weight"] + 60 - first["cost"]["steps"])
    assert "done before" in bench.run("--timeout", "1")[1]


def test_another_precision_is_another_number_only_where_it_is_asked_for(bench: Bench) -> None:
    bench.plugin()
    bench.run("--precision", "float32")
    assert "done before" in bench.run()[1]
    assert "done before" not in bench.run("--precision", "bfloat16")[1]
    assert only(bench)["provenance"]["precision"] == "bfloat16"
    assert "done before" in bench.run("--precision", "bfloat16")[1]
    assert "done before" in bench.run()[1]


def test_what_is_cleared_from_the_cache_is_posed_again(bench: Bench, tmp_path: Path) -> None:
    bench.environment["BENCH_CACHE"] = str(tmp_path / "cache")
    bench.plugin()
    status, output = bench.run()
    assert status == 0, output
    first = only(bench)
    posed = [*(tmp_path / "cache" / "incomplete").glob("*/*"), *(tmp_path / "cache" / "complete").glob("*/*")]
    assert len(posed) == 8
    for path in posed:
        path.unlink()
        status, output = bench.run()
        assert status == 0 and "done before" in output and path.is_file()
        assert only(bench) == first
    posed[0].unlink()
    assert bench.run("--rerun")[0] == 0
    assert only(bench)["metrics"] == first["metrics"]


def test_a_fault_of_ours_takes_no_result_away_and_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.plugin()
    bench.run()
    first = only(bench)

    def broken(*_: object) -> None:
        raise RuntimeError("nobody foresaw\nthis")

    monkeypatch.setattr(worker, "pose", broken)
    status, output = bench.run()
    assert status == 2 and "RuntimeError: nobody foresaw this" in output.splitlines()[-1]
    assert only(bench) == first


def test_a_job_always_comes_to_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where what went wrong cannot be written down: else the run would wait for ever."""
    grid = Grid(["mean"], ["mnist"], [0.8], [0], "smoke", train=20, test=10)
    job = new_job(grid.cells()[0], tmp_path, Machine("cpu", 1, "float32"), None)

    def broken(*_: object) -> None:
        raise ValueError("Out of range float values are not JSON compliant")

    monkeypatch.setattr(worker, "_ended", broken)
    end = worker.run_job(job, lambda event: None, worker.Stop())
    assert end["end"] == "refused" and "not JSON compliant" in end["why"]


def test_a_plugin_s_helper_module_is_part_of_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    bench.plugin("from helper import VALUE; self.value = VALUE")
    plugin, helper = tmp_path / "constant.py", tmp_path / "helper.py"
    plugin.write_text("import helper\n" + plugin.read_text())
    source = find_methods([plugin])["constant"]
    found = set()
    for value in ("0.2", "0.9"):
        helper.write_text(f"VALUE = {value}\n")
        described = describe(source)
        assert described.requires == ("torch",)
        found.add(described.source)
    assert len(found) == 2
