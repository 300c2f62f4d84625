"""FaceNet, the judge of CelebA: where its weights are found, and which files are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from bench.classifiers import facenet, vision, weights
from bench.cli import main
from bench.datasets.locations import weights_folder
from bench.errors import BenchError, Unavailable
from bench.judges import finding
from bench.judges.known import facenet_file
from bench.metrics import Scoring, score_all


@pytest.fixture(scope="module")
def facenet_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with weights of the right names and shapes, drawn at random, and the head of the real one."""
    torch.manual_seed(0)
    state = vision.load("facenet_pytorch").InceptionResnetV1().state_dict()
    path = tmp_path_factory.mktemp("facenet") / "facenet.safetensors"
    safetensors.torch.save_file({**state, "logits.weight": torch.zeros(3, 512)}, path)
    return path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr(vision.load("facenet_pytorch.models.utils.download"), "urlopen", refuse)


def test_facenet_comes_from_a_named_file(facenet_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_FACENET", str(facenet_weights))
    judge = finding.judge_for("celeba")
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)
    features = judge.features(images)
    assert features.shape == (2, 512)
    assert np.allclose((features**2).sum(1), 1, atol=1e-5)
    state = safetensors.torch.load_file(facenet_weights)
    del state["logits.weight"]
    assert judge.metadata["weights"] == weights.fingerprint(state)
    with pytest.raises(Unavailable, match="FaceNet knows no classes"):
        judge.predict(images)


def test_facenet_is_found_in_the_data_folder(facenet_weights: Path) -> None:
    assert facenet_file(facenet_weights.parent) == facenet_weights


def test_facenet_is_found_where_its_own_package_keeps_it(tmp_path: Path, offline: None) -> None:
    assert finding.judge_at_hand("celeba") is None
    torch.manual_seed(0)
    whole = vision.load("facenet_pytorch").InceptionResnetV1(classify=True, num_classes=8631)
    path = tmp_path / "torch" / "checkpoints" / "20180402-114759-vggface2.pt"
    path.parent.mkdir(parents=True)
    torch.save(whole.state_dict(), path)
    judge = finding.judge_at_hand("celeba")
    assert judge is not None
    by_the_package = facenet.from_download().network.state_dict()
    assert judge.metadata["weights"] == weights.fingerprint(by_the_package)


def test_a_named_file_that_is_not_there_is_refused_before_any_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_FACENET", "gone.pt")
    with pytest.raises(SystemExit) as ended:
        main(["run", "--methods", "mean", "--dataset", "celeba", "--results", str(tmp_path / "results")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: BENCH_FACENET gone.pt is not a file; name the file with FaceNet's weights"
    ]
    assert not (tmp_path / "results").exists()


def test_without_facenet_everything_else_goes_on(offline: None) -> None:
    truth = np.random.default_rng(0).integers(0, 256, (600, 3, 8, 8), dtype=np.uint8)
    imputed = np.zeros(truth.shape, np.float32)
    scores = score_all(
        Scoring(truth, imputed, np.zeros((600, 1, 8, 8), bool), None, truth, "sha256:0", "celeba")
    )
    assert scores["rmse"]["value"] > 0
    assert scores["fid"]["value"] is None
    assert "BENCH_FACENET" in scores["fid"]["reason"]
    assert "\n" not in scores["fid"]["reason"]
    # It goes into the record, which is for others to read; `bench doctor` names the folder.
    assert str(weights_folder()) not in scores["fid"]["reason"]


def test_a_file_that_is_not_facenet_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, other)
    monkeypatch.setenv("BENCH_FACENET", str(other))
    with pytest.raises(Unavailable, match=r"^other\.safetensors holds no FaceNet weights"):
        finding.judge_for("celeba")
    monkeypatch.setenv("BENCH_FACENET", str(tmp_path / "absent.pt"))
    finding._judge_for.cache_clear()
    with pytest.raises(BenchError, match=r"absent\.pt is not a file"):
        finding.judge_for("celeba")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Harmful:
        def __reduce__(self) -> Any:
            return Path.touch, (ran,)

    path = tmp_path / "20180402-114759-vggface2.pt"
    torch.save({"logits.weight": Harmful()}, path)
    with pytest.raises(facenet.FaceNetUnavailable, match="holds no FaceNet weights"):
        facenet.from_file(path)
    assert not ran.exists()
