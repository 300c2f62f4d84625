"""`bench rescore`: a judge or a metric that came later scores what is stored; nothing else can change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import metrics
from bench.classifiers import lenet, weights
from bench.errors import Unavailable
from bench.judges import finding
from bench.metrics.scoring import Scoring
from bench.problem.posing import Problem, pose
from tests.bench.command import TRAIN, Bench

MEASURED = ("--test", "120")
"""Enough images for an FID."""


@pytest.fixture(autouse=True)
def fresh_judges() -> Iterator[None]:
    finding._judge_for.cache_clear()
    yield
    finding._judge_for.cache_clear()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A folder with a cell of a constant 0.25 on MNIST, as `bench run` stores it."""
    with pytest.MonkeyPatch.context() as patch:
        bench = Bench(tmp_path_factory.mktemp("stored"), cache, patch)
        bench.plugin()
        assert bench.run(*MEASURED)[0] == 0
        return bench.folder


@pytest.fixture
def measured(stored: Path, bench: Bench) -> Bench:
    """A copy of it."""
    shutil.copytree(stored, bench.folder, dirs_exist_ok=True)
    return bench


@pytest.fixture
def other_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> lenet.LeNet:
    """From now on MNIST's judge is another one: it takes noughts for ones and ones for noughts."""
    folder = tmp_path / "weights"
    state, facts = weights.load(weights.PACKAGED, "lenet-mnist")
    for name in ("output.weight", "output.bias"):
        state[name] = state[name][[1, 0, *range(2, 10)]]
    weights.save(folder, "lenet-mnist", state, facts, half=False)
    model = lenet.build()
    model.load_state_dict(state)
    monkeypatch.setattr(weights, "PACKAGED", folder)
    finding._judge_for.cache_clear()
    return model.eval()


def document_of(bench: Bench) -> dict[str, Any]:
    (document,) = bench.results()
    return document


def everything(bench: Bench) -> dict[str, bytes]:
    files = (path for path in bench.cell().rglob("*") if path.is_file() and path.name[0] != ".")
    return {path.name: path.read_bytes() for path in files}


def test_a_judge_that_came_later(measured: Bench, other_judge: lenet.LeNet) -> None:
    before = document_of(measured)
    status, printed = measured.call("rescore")
    assert status == 0
    after = document_of(measured)
    posed = pose(Problem("mnist", rate=0.8, train=TRAIN, test=120))
    pasted = np.where(posed.observed, posed.truth, 64).astype(np.float32) / 255
    with torch.inference_mode():
        right = [
            (other_judge(torch.from_numpy(images)).argmax(1).numpy() == posed.labels).mean()
            for images in (np.float32(posed.truth / 255), pasted)
        ]
    assert after["metrics"]["scc"]["accuracy_complete"] == pytest.approx(right[0])
    assert after["metrics"]["scc"]["value"] == pytest.approx(min(1, right[1] / right[0]))
    assert right[0] < 0.9, "the other judge is no other"
    assert after["metrics"]["scc"]["weights"] != before["metrics"]["scc"]["weights"]
    assert after["metrics"]["rmse"] == before["metrics"]["rmse"]
    assert f"scc {before['metrics']['scc']['value']:.4g} -> " in printed
    # Where the fit comes from stays as it was, and who scored it is told beside it.
    rescored = after["provenance"].pop("rescored")
    assert {"command", "commit", "date", "packages"} <= rescored.keys()
    assert {**after, "metrics": 0} == {**before, "metrics": 0}
    with np.load(measured.cell() / "per-image.npz") as stored:
        own = stored["scores"][stored["metrics"].tolist().index("scc")]
    assert own.mean() == pytest.approx(right[1])
    # A run finds it done.
    assert "done before" in measured.run(*MEASURED)[1]
    assert document_of(measured)["provenance"]["rescored"] == rescored


def test_the_same_judge_changes_nothing(measured: Bench) -> None:
    before = everything(measured)
    status, printed = measured.call("rescore")
    assert status == 0 and printed.endswith("the same numbers\n")
    after = everything(measured)
    assert {**before, "result.json": b""} == {**after, "result.json": b""}


def _break(bench: Bench, fault: str) -> None:
    imputed, result = bench.cell() / "imputed.npy", bench.cell() / "result.json"
    document = json.loads(result.read_text())
    if fault == "another":
        np.save(imputed, np.load(imputed) + np.float32(0.01))
    elif fault == "torn":
        imputed.write_bytes(imputed.read_bytes()[:-100])
    elif fault == "empty":
        imputed.write_bytes(b"")
    elif fault == "shape":
        np.save(imputed, np.load(imputed)[:-1])
    elif fault == "archive":
        np.savez(imputed.with_suffix(".npz"), np.load(imputed))
        imputed.with_suffix(".npz").replace(imputed)
    elif fault == "structured":
        np.save(imputed, np.load(imputed).view([("value", np.float32)]))
    elif fault in ("str", "complex64", "object", "int64"):
        np.save(imputed, np.load(imputed).astype(fault))
    elif fault == "gone":
        imputed.unlink()
    elif fault == "pixels":
        document["problem"]["fingerprint"] = "sha256:0"
    elif fault == "failed":
        document |= {"status": "failed", "error": "late"}
    elif fault == "metric":
        document["metrics"]["ssim"] = {"value": 0.5}
    result.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("another", "is not the one that was scored"),
        ("torn", "cannot be scored"),
        ("empty", "cannot be scored"),
        ("shape", "the problem (120, 1, 28, 28)"),
        ("archive", "cannot be scored"),
        ("structured", "holds void32, not floating-point numbers"),
        ("str", "holds str1024, not floating-point numbers"),
        ("complex64", "holds complex64, not floating-point numbers"),
        ("int64", "holds int64, not floating-point numbers"),
        ("object", "cannot be scored"),
        ("gone", "no imputed.npy is kept"),
        ("pixels", "pixels are not those of the record"),
        ("failed", "failed cells have no imputation"),
        ("metric", "its ssim would be lost"),
    ],
)
def test_what_cannot_be_scored_stays_as_it_was(measured: Bench, fault: str, told: str) -> None:
    _break(measured, fault)
    before = everything(measured)
    status, printed = measured.call("rescore")
    assert status == 1
    assert told in printed and printed.count("\n") == 1
    assert everything(measured) == before


def test_a_cell_whose_fault_nobody_foresaw_does_not_stop_the_others(
    measured: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(measured.cell(), measured.cell().parents[1] / "another" / "seed-0")
    posed = iter([RuntimeError("nobody foresaw\nthis")])

    def broken(*arguments: Any) -> Any:
        for fault in posed:
            raise fault
        return pose(*arguments)

    monkeypatch.setattr("bench.review.rescoring.pose", broken)
    status, printed = measured.call("rescore")
    first, second = printed.splitlines()
    assert status == 1
    assert first.endswith("another/seed-0: left as it was: RuntimeError: nobody foresaw this")
    assert second.endswith("the same numbers") and "constant" in second


def test_a_judge_that_is_gone_loses_no_number(measured: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise Unavailable("the judge is gone")

    monkeypatch.setattr("bench.metrics.scc.judge_for", gone)
    before = everything(measured)
    status, printed = measured.call("rescore")
    assert status == 1 and "its scc would be lost: the judge is gone" in printed
    assert everything(measured) == before


def test_a_cell_that_was_taken_over_stays_as_it_was(
    measured: Bench, other_judge: lenet.LeNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.store.presence.Presence.stands", False)
    before = everything(measured)
    status, printed = measured.call("rescore")
    assert status == 1 and "taken over by another machine" in printed
    assert everything(measured) == before


def fails(scoring: Scoring) -> dict[str, Any]:
    raise RuntimeError("no model file")


def test_a_metric_that_fails_is_told(measured: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mae", f"{__name__}:fails", metrics.GROUP)
    monkeypatch.setattr(metrics, "entry_points", lambda group: [point] if group == metrics.GROUP else [])
    status, printed = measured.call("rescore")
    assert status == 0 and "mae none (" in printed and "no model file" in printed


def brightness(scoring: Scoring) -> dict[str, Any]:
    return {"value": float(scoring.imputed.mean())}


def test_a_metric_that_came_later(measured: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("brightness", f"{__name__}:brightness", metrics.GROUP)
    monkeypatch.setattr(metrics, "entry_points", lambda group: [point] if group == metrics.GROUP else [])
    status, printed = measured.call("rescore")
    posed = pose(Problem("mnist", rate=0.8, train=TRAIN, test=120))
    pasted = np.where(posed.observed, posed.truth / 255, 0.25)
    assert status == 0 and "brightness none -> " in printed
    value = document_of(measured)["metrics"]["brightness"]["value"]
    assert value == pytest.approx(pasted.mean(), abs=1e-6)
