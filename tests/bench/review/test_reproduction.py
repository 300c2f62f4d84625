"""`bench reproduce`: the record alone brings the numbers back, and a difference is told for what it is."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.errors import BenchError
from bench.review.reproduction import compare, prepare
from bench.store.results import Result, read_result
from tests.bench.report.stored import failed, result, store
from tests.plugin_files import code_of

# Its numbers depend on the seed, a setting and the number of threads, which all must come from the record.
PLUGIN = code_of("seeded")


def call(line: str) -> tuple[int, str]:
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(io.StringIO()),
        pytest.raises(SystemExit) as left,
    ):
        main(shlex.split(line))
    return int(left.value.code or 0), printed.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("reproduce")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        Path("own.py").write_text(PLUGIN)
        grid = "--dataset mnist --rates 0.5 --seeds 2 --preset smoke --train 90 --test 120"
        given = "--methods own --plugin own.py --set own.shift=0.25 --device cpu --threads 2"
        assert call(f"run {grid} {given}")[0] == 0
        yield folder


def test_the_record_brings_the_same_numbers_back(folder: Path) -> None:
    (path,) = folder.glob("results/runs/**/result.json")
    moved = folder / "moved"
    moved.mkdir()
    document = json.loads(path.read_text())
    # Elsewhere, under no telling name, and with one number outside its interval, one inside.
    rmse, scc = document["metrics"]["rmse"], document["metrics"]["scc"]
    rmse["value"], rmse["low"], rmse["high"] = rmse["value"] + 1, rmse["low"] + 1, rmse["high"] + 1
    scc["value"] = (scc["low"] + scc["high"]) / 2 + 1e-6
    before = {found: found.read_bytes() for found in folder.glob("results/**/*") if found.is_file()}
    (moved / "result.json").write_text(json.dumps(document))
    status, printed = call(f"reproduce {moved} --plugin own.py")
    assert status == 1
    told = {line.split(":")[0]: line for line in printed.splitlines()}
    assert told["rmse"].startswith("rmse: off, outside the 95 % interval")
    assert "-1" in told["rmse"].rpartition(",")[2]
    assert told["scc"].startswith("scc: within the 95 % interval")
    assert told["fid"].startswith("fid: exact: ")
    assert {found: found.read_bytes() for found in folder.glob("results/**/*") if found.is_file()} == before


def test_what_is_not_as_it_was_is_told(folder: Path) -> None:
    (path,) = folder.glob("results/runs/**/result.json")
    document = json.loads(path.read_text())
    document["method"]["source"] = "sha256:0"
    document["provenance"]["threads"] = 1
    document["provenance"]["packages"]["torch"] = "0.1"
    document["metrics"].pop("fid")
    other = folder / "other"
    other.mkdir()
    (other / "result.json").write_text(json.dumps(document))
    status, printed = call(f"reproduce {other} --plugin own.py")
    assert "differs from the record: the method's code is not that of the record" in printed
    assert "differs from the record: torch: 0.1 then, " in printed
    # With one thread instead of two, this method's numbers are others, of the same kind.
    assert status == 0 and "rmse: within the 95 % interval" in printed


@pytest.fixture
def late(folder: Path) -> Path:
    """The cell as a deadline of 2 s would have left it, and its record."""
    (path,) = folder.glob("results/runs/**/result.json")
    document = json.loads(path.read_text())
    document["provenance"]["timeout"] = 2
    document["fit"]["stopped"] = "deadline reached in epoch 1 of 4"
    other = folder / "late"
    other.mkdir(exist_ok=True)
    (other / "result.json").write_text(json.dumps(document))
    return other


def test_a_recorded_deadline_is_kept_and_a_fit_that_it_ended_is_told_of_first(late: Path) -> None:
    stored, plugins = read_result(late / "result.json"), [late.parent / "own.py"]
    again = prepare(stored, plugins)
    assert again.machine.timeout == 2
    assert "ended early (deadline reached in epoch 1 of 4)" in again.remarks[0]
    assert "expect other numbers" in again.remarks[0]
    assert not any(remark.startswith("timeout") for remark in again.remarks)
    longer = prepare(stored, plugins, timeout=60)
    assert longer.machine.timeout == 60 and longer.remarks[1] == "timeout: 2 s then, 60 s now"
    (path,) = late.parent.glob("results/runs/**/result.json")
    whole = prepare(read_result(path), plugins)
    assert whole.machine.timeout is None and not {*again.remarks[:1]} & {*whole.remarks}


@pytest.mark.parametrize("deadline", ["soon", 0, -5, float("inf"), 10**400, [2], None])
def test_a_recorded_deadline_that_is_none_is_passed_over(late: Path, deadline: object) -> None:
    stored = read_result(late / "result.json")
    odd = stored.model_copy(update={"provenance": {**stored.provenance, "timeout": deadline}})
    assert prepare(odd, [late.parent / "own.py"]).machine.timeout is None


def test_a_fit_that_its_deadline_ends_only_now_is_told(late: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = late.parent.glob("results/runs/**/result.json")
    monkeypatch.setattr(
        "bench.review.reproduction.Reproduction.run", lambda _: read_result(late / "result.json")
    )
    status, printed = call(f"reproduce {path.parent} --plugin own.py")
    assert status == 0 and "the fit was ended early (deadline reached in epoch 1 of 4)" in printed


def stored(tmp_path: Path, document: dict[str, Any]) -> Result:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    return read_result(path)


@pytest.mark.parametrize(
    ("now", "verdicts"),
    [
        ({}, {"rmse": "exact", "fid": "exact", "scc": "exact"}),
        ({"rmse": 0.165}, {"rmse": "within", "fid": "exact", "scc": "exact"}),
        ({"rmse": 0.175}, {"rmse": "off", "fid": "exact", "scc": "exact"}),
        ({"fid": 1.009}, {"rmse": "exact", "fid": "within", "scc": "exact"}),
        ({"fid": 1.011}, {"rmse": "exact", "fid": "off", "scc": "exact"}),
        ({"scc": None}, {"rmse": "exact", "fid": "exact", "scc": "off"}),
    ],
)
def test_verdicts(tmp_path: Path, now: dict[str, Any], verdicts: dict[str, str]) -> None:
    """The hand-made result has RMSE 0.16 ± 0.01, FID 1, SCC 0.9 ± 0.01; an FID has no interval."""
    documents = [result("prflow"), result("prflow", **now)]
    for document in documents:
        for name in ("low", "high"):
            document["metrics"]["fid"].pop(name)
    then, again = (stored(tmp_path, document) for document in documents)
    assert {one.metric: one.verdict for one in compare(then, again)} == verdicts


def test_a_failure_is_reproduced_by_the_same_failure(tmp_path: Path) -> None:
    late, lost = (stored(tmp_path, failed("prflow", "late", status)) for status in ("timeout", "failed"))
    assert [one.verdict for one in compare(late, late)] == ["exact"]
    assert [one.verdict for one in compare(late, lost)] == ["off"]
    assert [one.verdict for one in compare(late, stored(tmp_path, result("prflow")))] == ["off"]


def test_the_settings_of_the_record_hold_for_colour_images_of_one_s_own(folder: Path, tmp_path: Path) -> None:
    """Where none is given, a run takes CIFAR-10's for them."""
    (path,) = folder.glob("results/runs/**/result.json")
    document = json.loads(path.read_text())
    document["cell"] |= {"dataset": "faces", "settings": {}}
    document["method"]["settings"] = {"shift": 0.125}
    document["problem"] = {"train": 6, "test": 4}
    images = np.zeros((6, 3, 8, 8), np.uint8)
    np.savez(tmp_path / "faces.npz", train=images, test=images[:4])
    again = prepare(stored(tmp_path, document), [folder / "own.py"], str(tmp_path / "faces.npz"))
    assert again.cell.settings == {"shift": 0.125}


def test_a_data_set_known_by_its_path_asks_for_the_path(tmp_path: Path) -> None:
    stored = read_result(next(store(tmp_path, result("mean", "faces")).rglob("result.json")))
    with pytest.raises(BenchError, match="'faces' alone; give its path with --dataset"):
        prepare(stored)
