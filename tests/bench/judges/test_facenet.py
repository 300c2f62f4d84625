"""The judges of CelebA: FaceNet where its file is found, else FaceResNet; and which files are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from bench.classifiers import facenet, vision, weights
from bench.cli import main
from bench.datasets import Dataset
from bench.datasets.locations import weights_folder
from bench.errors import BenchError, Unavailable
from bench.judges import finding
from bench.judges.complete import of_complete
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
    stand_in = finding.judge_at_hand("celeba")
    assert stand_in is not None and stand_in.name == "FaceResNet"
    finding._judge_for.cache_clear()
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


def test_without_facenet_the_judge_of_the_package_is_taken_and_named(
    offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fetched for it while a cell is scored. Its FID is the one of its features, which are 128."""
    monkeypatch.setattr(facenet, "from_download", None)
    images = np.random.default_rng(0).integers(0, 256, (129, 3, 4, 4), dtype=np.uint8)
    grey = np.full(images.shape, 0.5, np.float32)
    scoring = Scoring(images, grey, np.zeros((129, 1, 4, 4), bool), None, images, "sha256:0", "celeba")
    scores = score_all(scoring)
    judge = finding.judge_for("celeba")
    truth = of_complete(judge, images).moments
    (imputed,) = judge.features(scoring.quantised[:1])
    # The imputed images are one and the same: there is no covariance, and no product of two.
    expected = ((truth.mean - imputed) ** 2).sum() + truth.covariance.trace()
    assert scores["fid"]["value"] == pytest.approx(expected, rel=1e-5)
    assert scores["fid"]["floor"] == pytest.approx(0, abs=1e-6)
    assert {name: scores["fid"][name] for name in ("judge", "layer", "weights")} == {
        "judge": "FaceResNet",
        "layer": "face descriptor (128)",
        "weights": weights.load(weights.PACKAGED, "faceresnet")[1]["weights"],
    }
    assert scores["scc"]["value"] is None and "no labels" in scores["scc"]["reason"]
    with pytest.raises(Unavailable, match="FaceResNet knows no classes"):
        judge.predict(images)
    few = Scoring(
        images[:128], grey[:128], np.zeros((128, 1, 4, 4), bool), None, images, "sha256:0", "celeba"
    )
    reason = score_all(few)["fid"]["reason"]
    assert "FID on 128 features of FaceResNet needs more than 128 test images, not 128" in reason


def test_prepare_goes_on_without_facenet(
    offline: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.zeros((2, 3, 32, 32), np.uint8)
    monkeypatch.setattr("bench.cli.prepare.load", lambda *_: Dataset("celeba", pixels, pixels))
    monkeypatch.setattr("bench.datasets.celeba.locate", lambda _: Path("there"))
    with pytest.raises(SystemExit) as ended:
        main(["prepare", "--dataset", "celeba"])
    assert not ended.value.code
    without, ready = capsys.readouterr().out.splitlines()[-2:]
    assert without.startswith("celeba: without FaceNet, the paper's judge: facenet-pytorch could not fetch")
    assert "no route to host" in without
    assert ready == "celeba: its judge is ready: FaceResNet"


def test_a_damaged_file_of_facenet_is_told_and_no_other_judge_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_folder().mkdir(parents=True)
    (weights_folder() / "facenet.safetensors").write_bytes(b"torn")
    images = np.zeros((130, 3, 4, 4), np.uint8)
    observed = np.zeros((130, 1, 4, 4), bool)
    imputed = np.zeros(images.shape, np.float32)
    scores = score_all(Scoring(images, imputed, observed, None, images, "sha256:0", "celeba"))
    assert scores["fid"]["value"] is None
    assert scores["fid"]["reason"].startswith("facenet.safetensors holds no FaceNet weights")
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
