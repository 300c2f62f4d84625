"""What is run again and what is not: results count only where this run would have made them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.grid.grid import Grid
from bench.plugins.registry import describe, find_methods
from bench.run import events, worker
from bench.run.events import Refused
from bench.run.executors.ray import bring_home
from bench.run.job import new_job
from bench.run.machine import Machine
from bench.run.watching import Stop
from bench.store.cell_folder import CellFolder
from bench.store.results import SCHEMA, read_result
from tests.bench.command import TEST, TRAIN, Bench
from tests.bench.report.stored import result

SLOW = """
from bench.methods.training import Training
self.weight = torch.nn.Linear(1, 1)
for _ in Training(context, {"weight": self.weight}, len(train), batch_size=50, epochs=20):
    time.sleep(0.05)
    with torch.no_grad():
        self.weight.weight.add_(1)
context.facts["weight"] = float(self.weight.weight)
"""


def only(bench: Bench) -> dict[str, Any]:
    (result,) = bench.results()
    return result


def test_a_fit_that_its_deadline_ended_goes_on_under_a_longer_one(bench: Bench) -> None:
    bench.plugin(SLOW)
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


def test_settings_that_differ_in_a_path_are_two_cells(bench: Bench) -> None:
    """A record keeps folders to itself elsewhere, but these tell one fit from another."""
    bench.plugin()
    plugin = bench.folder / "constant.py"
    plugin.write_text(
        plugin.read_text().replace("value: float = 0.25", "value: float = 0.25\n    file: str = ''")
    )
    for folder in ("one", "two"):
        given = f"/data/{folder}/weights.pt"
        assert bench.run("--set", f"constant.file={given}")[0] == 0
        assert "done before" in bench.run("--set", f"constant.file={given}")[1]
        assert bench.run("--set", f"constant.file={given}", "--rerun")[0] == 0
    stored = [one["cell"]["settings"] for one in bench.results()]
    assert stored == [{"file": "/data/one/weights.pt"}, {"file": "/data/two/weights.pt"}]
    status, table = bench.call("table", "--methods", "constant")
    assert status == 0 and "left out" not in table
    assert "/data/one/weights.pt" in table and "/data/two/weights.pt" in table
    assert "2 done" in bench.call("status", f"--plugin={plugin}")[1]


def test_what_is_cleared_from_the_cache_is_posed_again(bench: Bench, tmp_path: Path) -> None:
    bench.environment["BENCH_CACHE"] = str(tmp_path / "cache")
    bench.plugin()
    status, output = bench.run()
    assert status == 0, output
    first = only(bench)
    posed = [*(tmp_path / "cache" / "incomplete").glob("*/*"), *(tmp_path / "cache" / "complete").glob("*/*")]
    assert len(posed) == 10
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

    monkeypatch.setattr(worker, "_run_or_record", broken)
    end = worker.run_job(job, lambda news: None, Stop())
    assert isinstance(end, Refused) and "not JSON compliant" in end.why


def test_a_plugin_s_helper_module_is_part_of_its_code(tmp_path: Path, bench: Bench) -> None:
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


def changed(**parts: Any) -> Callable[[dict[str, Any]], str]:
    return lambda stored: json.dumps(stored | parts)


DAMAGED: dict[str, Callable[[dict[str, Any]], str]] = {
    "little": lambda stored: json.dumps({name: stored[name] for name in ("schema", "status")}),
    "a word for a number": changed(metrics={"rmse": {"value": "x"}}),
    "no fit": changed(fit=None),
    "nested for ever": lambda stored: "[" * 100_000,
    "no schema": changed(schema="1"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_result_counts_as_none(tmp_path: Path, name: str) -> None:
    folder = CellFolder(tmp_path, Path("cell"))
    folder.path.mkdir()
    stored = result("prflow")
    (folder.path / "result.json").write_text(json.dumps(stored))
    assert folder.result() == stored | {"schema": SCHEMA}
    (folder.path / "result.json").write_text(DAMAGED[name](stored))
    assert folder.result() is None


def test_a_result_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, Path("cell"))
    folder.path.mkdir()
    (folder.path / "result.json").write_text(json.dumps(result("prflow") | {"schema": 99}))
    with pytest.raises(BenchError, match="schema 99 of a later version"):
        folder.result()


def test_a_number_that_no_reader_takes_is_stored_as_a_failure_that_says_so(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, Path("cell"))
    with folder.claimed():
        folder.store(result("prflow") | {"metrics": {"rmse": {"value": 0.1, "title": 5}}})
    assert read_result(folder.path / "result.json").error.startswith(
        "its result could not be read back: metrics.rmse.title"
    )


def test_other_images_of_one_name_do_not_take_a_number_away(bench: Bench, tmp_path: Path) -> None:
    grid = ["--methods", "mean", "--train", "20", "--test", "20"]
    for seed, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / folder / "images.npz", train=pixels[:20], test=pixels[20:])
    assert bench.run(*grid, "--dataset", "one/images.npz")[0] == 0
    first = bench.results()
    status, output = bench.run(*grid, "--dataset", "two/images.npz")
    assert status == 2 and "other images that are called images too" in output
    assert bench.results() == first


@pytest.mark.parametrize("fault", ["display_name = 5", "citation = None", 'baseline = "yes"'])
def test_what_a_plugin_says_of_itself_is_checked_before_anything_runs(bench: Bench, fault: str) -> None:
    bench.plugin()
    plugin = bench.folder / "constant.py"
    plugin.write_text(plugin.read_text().replace("    value: float", f"    {fault}\n    value: float"))
    status, output = bench.run()
    assert status == 2 and fault.split()[0] in output and not bench.results()


def test_the_current_folder_is_named_by_its_own_name(bench: Bench, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    grid = ["--methods", "mean", "--train", "6", "--test", "2", "--dataset", "."]
    status, output = bench.run(*grid)
    assert status == 0, output
    assert only(bench)["cell"]["dataset"] == tmp_path.name


def test_files_in_the_current_folder_take_the_place_of_no_module(bench: Bench, tmp_path: Path) -> None:
    for name in ("random", "methods", "json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('mine')")
    status, output = bench.run("--methods", "mean")
    assert status == 0, output


def test_a_plugin_whose_import_leaves_a_process_is_described(bench: Bench) -> None:
    bench.plugin()
    plugin = bench.folder / "constant.py"
    plugin.write_text(
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n    os._exit(0)\n"
        + plugin.read_text()
    )
    started = time.monotonic()
    describe(find_methods([plugin])["constant"])
    assert time.monotonic() - started < 50


def test_the_reader_of_a_run_may_go(bench: Bench) -> None:
    bench.plugin()
    run = bench.start("--rates", "0.7,0.8")
    assert run.stdout is not None
    run.stdout.close()
    run.wait(timeout=200)
    assert len(bench.results()) == 2


@pytest.mark.parametrize("way", ["too little memory", "a typo", "killed"])
def test_a_failed_rerun_leaves_the_stored_number(bench: Bench, way: str) -> None:
    bench.plugin()
    run = ("--methods", "constant")
    assert bench.run(*run)[0] == 0
    cell = bench.cell()
    before = {
        path.name: path.read_bytes() for path in cell.iterdir() if path.suffix in (".npy", ".npz", ".json")
    }
    assert {*before} == {"imputed.npy", "samples.npz", "per-image.npz", "result.json"}
    if way == "a typo":
        bench.plugin("raise NameError('typo')")
    if way == "killed":
        bench.plugin("os.kill(os.getpid(), 9)")
    status, output = bench.run(*run, "--rerun", *(["--memory", "0.01"] if way == "too little memory" else []))
    assert status == 1
    assert "(the number that was stored before stays)" in output
    assert {name: (cell / name).read_bytes() for name in before} == before
    assert json.loads((cell / "failed-rerun.json").read_bytes())["status"] != "ok"
    assert "a later run failed; the number above stayed" in bench.call("show", str(cell))[1]
    bench.plugin()
    assert bench.run(*run, "--rerun")[0] == 0
    assert not (cell / "failed-rerun.json").exists()


def test_a_failure_on_a_ray_node_leaves_the_number_that_is_stored_here(bench: Bench) -> None:
    """The node has a folder of its own, so it does not know of the number."""
    bench.plugin()
    assert bench.run()[0] == 0
    (number,) = bench.results()
    root = bench.folder / "results" / "runs"
    plugin = bench.folder / "constant.py"
    grid = Grid(["constant"], ["mnist"], [0.8], [0], "quick", train=TRAIN, test=TEST, plugins=[plugin])
    job = new_job(grid.cells()[0], root, Machine("cpu", 1, "float32"), "all")
    assert job.cell_folder.path == bench.cell()
    before = {path.name: path.read_bytes() for path in bench.cell().iterdir()}
    later = number["provenance"] | {"date": "2100-01-01T00:00:00+00:00"}
    failed = {"key": number["key"], "cell": number["cell"], "status": "out-of-memory", "provenance": later}
    end = events.Stored(result=failed)
    files = {"log.txt": b"of the node", "result.json": json.dumps({"schema": SCHEMA, **failed}).encode()}
    assert bring_home(job, end, files) == events.Stored(result=failed, number_kept=True)
    after = {path.name: path.read_bytes() for path in bench.cell().iterdir()}
    assert json.loads(after.pop("failed-rerun.json"))["status"] == "out-of-memory"
    assert after == before


def test_what_no_reader_takes_does_not_replace_a_number(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, Path("cell"))
    number = result("prflow")
    with folder.claimed():
        assert not folder.store(dict(number))
        assert folder.store(number | {"metrics": {"rmse": {"value": 0.1, "title": 5}}})
        with pytest.raises(BenchError, match=r"could not be read back: metrics\.rmse\.title"):
            folder.replace(number | {"metrics": {"rmse": {"value": 0.1, "title": 5}}})
    assert folder.result() == number | {"schema": SCHEMA}
    failed = read_result(folder.path / "failed-rerun.json")
    assert failed.status == "failed" and "could not be read back" in str(failed.error)
