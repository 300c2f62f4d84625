"""Judges of a user's own labelled images: trained by command, and found again by the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import datasets
from bench.classifiers import lenet, resnet18
from bench.classifiers.training import Schedule, Stage
from bench.errors import BenchError, Unavailable
from bench.judges import finding
from bench.judges import training as judge_training
from bench.metrics import Scoring, score_all

QUICK = Schedule(stages=(Stage(28, 6),), batch_size=40, peak_rate=0.05, crop_padding=2, flip=True)


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Real zeros and ones, cut to 24x20, in an .npz file; and a schedule that takes seconds."""
    monkeypatch.setattr(lenet, "SCHEDULES", {"cpu": QUICK, "gpu": QUICK})
    monkeypatch.setattr(judge_training, "FEWEST_STEPS", 40)
    whole = datasets.load("mnist")
    parts: dict[str, Any] = {}
    for split, count in (("train", 400), ("test", 100)):
        images, labels = getattr(whole, split), getattr(whole, f"{split}_labels")
        rows = np.flatnonzero(labels < 2)[:count]
        parts |= {split: images[rows][:, :, 2:26, 4:24], f"{split}_labels": labels[rows]}
    np.savez(tmp_path / "own.npz", **parts)
    return tmp_path / "own.npz"


def scores(path: Path) -> dict[str, Any]:
    """FID and SCC of an imputation that is everywhere the truth."""
    data = datasets.load(str(path))
    scoring = Scoring(
        truth=data.test,
        imputed=(data.test / 255).astype(np.float32),
        observed=np.ones((len(data.test), 1, *data.test.shape[2:]), bool),
        labels=data.test_labels,
        train_truth=data.train,
        fingerprint=data.fingerprint,
        dataset=str(path),
    )
    return score_all(scoring)


def test_a_judge_of_own_images_is_trained_and_found_by_their_pixels(digits: Path) -> None:
    assert "bench train-judge trains one" in scores(digits)["scc"]["reason"]
    facts = judge_training.train_judge(str(digits))
    finding._judge_for.cache_clear()
    data = datasets.load(str(digits))
    judge = finding.judge_for(str(digits), fingerprint=data.fingerprint)
    assert (judge.name, judge.metadata["classes"], judge.metadata["dataset"]) == ("LeNet", 2, "own")
    right = float((judge.predict(data.test) == data.test_labels).mean())
    assert right > 0.9 and facts["accuracy"] == pytest.approx(right)
    found = scores(digits)
    assert found["scc"]["value"] == 1 and found["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["fid"]["weights"] == judge.metadata["weights"]
    # The same name with another pixel is another data set.
    with np.load(digits) as stored:
        parts = dict(stored)
    parts["train"][0, 0, 0, 0] ^= 1
    np.savez(digits, **parts)
    with pytest.raises(Unavailable, match="no judge for the data set 'own'"):
        finding.judge_for(str(digits), fingerprint=datasets.load(str(digits)).fingerprint)


def test_own_images_are_not_mirrored(digits: Path) -> None:
    """Nobody knows whether a class looks the same in a mirror: letters do not."""
    assert judge_training.train_judge(str(digits))["schedule"]["flip"] is False


def test_images_of_another_size_are_scaled(digits: Path) -> None:
    facts = judge_training.train_judge(str(digits))
    assert facts["resized_to"] == 28 and facts["normalisation"].startswith("bilinear to 28x28, ")


def test_colour_images_get_a_resnet18(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Schedule(stages=(Stage(8, 1),), batch_size=4, peak_rate=0.01, crop_padding=1, flip=False)
    monkeypatch.setattr(resnet18, "SCHEDULES", {"cpu": short, "gpu": short})
    monkeypatch.setattr(judge_training, "FEWEST_STEPS", 1)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8), dtype=np.uint8)
    labels = np.arange(8) % 3
    np.savez(tmp_path / "own.npz", train=pixels, test=pixels, train_labels=labels, test_labels=labels)
    facts = judge_training.train_judge(str(tmp_path / "own.npz"))
    assert (facts["judge"], facts["classes"]) == ("ResNet18", 3)


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ({}, "own has no labels, so no judge can be trained on it; give train/ and test/"),
        ({"train": [1] * 6}, "own has training images of one class only"),
        ({"train": [0, 0, 2, 2, 3, 3]}, "run from 0 to 3, but there are 3; number them from 0 on"),
        ({"train": [0, 0, 1, 1, 0, 1], "test": [0, 2]}, "no training image has class 2"),
    ],
)
def test_labels_that_teach_nothing_are_refused(
    tmp_path: Path, labels: dict[str, list[int]], fault: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    given: dict[str, Any] = {f"{split}_labels": np.array(each) for split, each in labels.items()}
    if given:
        given.setdefault("test_labels", np.zeros(2, np.int64))
    np.savez(tmp_path / "own.npz", train=pixels, test=pixels[:2], **given)
    with pytest.raises(BenchError, match=fault) as caught:
        judge_training.train_judge(str(tmp_path / "own.npz"))
    assert "\n" not in str(caught.value)


def test_few_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    labels = np.arange(6) % 2
    np.savez(tmp_path / "own.npz", train=pixels, test=pixels, train_labels=labels, test_labels=labels)
    with pytest.raises(BenchError, match="fewer than one batch"):
        judge_training.train_judge(str(tmp_path / "own.npz"))
