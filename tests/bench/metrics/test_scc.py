"""SCC against cases computed by hand, and what a score says when there is none."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import datasets
from bench.errors import Unavailable
from bench.judges.finding import judge_for
from bench.judges.judge import Judge
from bench.metrics import Scoring, scc, score_all
from bench.metrics.scoring import quantise
from tests.real import mnist_pixels


def test_by_hand() -> None:
    """Right about 3 of 5 imputed and 4 of 5 complete images: 0.75."""
    assert scc.scc(np.array([1, 1, 1, 0, 0], bool), np.array([1, 1, 1, 1, 0], bool)) == pytest.approx(0.75)


def test_better_than_complete_counts_as_one() -> None:
    assert scc.scc(np.array([True, True]), np.array([True, False])) == 1


def test_a_judge_that_is_never_right_gives_no_number() -> None:
    with pytest.raises(Unavailable, match="wrong about every complete test image"):
        scc.scc(np.array([True, True]), np.array([False, False]))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_is_the_capped_ratio_of_counts(pairs: list[tuple[bool, bool]]) -> None:
    imputed, complete = np.array(pairs).T
    if complete.sum():
        assert scc.scc(imputed, complete) == pytest.approx(min(1, sum(imputed) / sum(complete)))


class Brightness:
    """A judge for tests: an image is of class 1 where its mean is above one half."""

    name = "Brightness"
    metadata = {"judge": "Brightness", "layer": "mean (1)", "weights": "sha256:0"}
    dimensions = 1
    has_classes = True

    def features(self, images: np.ndarray) -> np.ndarray:
        means: np.ndarray = images.mean(axis=(2, 3))[:, :1] / 255
        return means

    def require_classes(self) -> None:
        pass

    def classify(self, features: np.ndarray) -> np.ndarray:
        return (features[:, 0] > 0.5).astype(np.int64)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.classify(self.features(images))


def test_score_pairs_the_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """100 images; the judge is right about 80 complete and, of those, 60 imputed ones: 0.75."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(scc, "judge_for", lambda *_: Brightness())
    shape = (100, 1, 2, 2)
    labels = np.ones(100, np.int64)
    truth = np.zeros(shape, np.uint8)
    truth[:80] = 255
    imputed = np.zeros(shape, np.float32)
    imputed[:60] = 1
    scoring = Scoring(truth, imputed, np.zeros(shape, bool), labels, truth, "sha256:0", "mnist")
    found = scc.score(scoring)
    assert found["value"] == pytest.approx(0.75)
    assert scoring.per_image["scc"].tolist() == [1.0] * 60 + [0.0] * 40
    assert (found["accuracy_imputed"], found["accuracy_complete"]) == (0.6, 0.8)
    # Of 80 images the judge knows, 60 stay known: 0.75 give or take 1.96 sqrt(0.75 * 0.25 / 80).
    assert found["low"] == pytest.approx(0.75 - 0.095, abs=0.02)
    assert found["high"] == pytest.approx(0.75 + 0.095, abs=0.02)


def test_a_metric_that_is_not_available_says_why_and_stops_no_other() -> None:
    truth = mnist_pixels("t10k", 20).numpy()
    imputed = np.zeros(truth.shape, np.float32)
    observed = np.zeros((20, 1, 28, 28), bool)
    scores = score_all(Scoring(truth, imputed, observed, None, truth, "sha256:0", "somebody-elses"))
    expected = float(np.sqrt(((truth / 255.0) ** 2).mean()))
    assert scores["rmse"]["value"] == pytest.approx(expected, rel=1e-9)
    assert scores["fid"]["value"] is None
    assert "no judge for the data set 'somebody-elses'" in scores["fid"]["reason"]
    assert scores["scc"] == {
        "value": None,
        "reason": "somebody-elses has no labels, so there is no accuracy to compare",
    }


def test_the_judge_looks_at_imputed_images_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For the FID and the SCC together, and the SCC is that of the judge's own predictions."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    data = datasets.load("mnist")
    assert data.test_labels is not None
    truth, train, labels = data.test[:200], data.train[:100], data.test_labels[:200]
    imputed = (truth / 255).astype(np.float32)
    imputed[:, :, 8:20] = 0
    judge = judge_for("mnist")
    expected = (judge.predict(quantise(imputed)) == labels).mean()
    seen: list[int] = []
    features = Judge.features

    def counted(self: Judge, images: np.ndarray, batch_size: int = 250) -> np.ndarray:
        seen.append(len(images))
        return features(self, images, batch_size)

    monkeypatch.setattr(Judge, "features", counted)
    observed = np.zeros((200, 1, 28, 28), bool)
    scores = score_all(Scoring(truth, imputed, observed, labels, train, "sha256:0", "mnist"))
    assert scores["scc"]["accuracy_imputed"] == expected < 1
    # Complete test and training images for the FID and its floor, and the imputed ones.
    assert sum(seen) == 200 + 100 + 200
