"""The judges: the shipped one on real digits, the others' weights found, trained or refused."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from bench import datasets
from bench.classifiers import lenet, resnet18, training, weights
from bench.classifiers.training import Schedule, Stage
from bench.cli import main
from bench.datasets.cifar10 import CLASSES
from bench.datasets.locations import weights_folder
from bench.errors import BenchError, Unavailable
from bench.judges import finding
from bench.judges import judge as judges
from bench.judges import training as judge_training
from bench.metrics import Scoring, score_all
from bench.util.files import CannotWrite
from tests.bench.command import wait_for
from tests.real import mnist_pixels


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> datasets.Dataset:
    """Real digits, few of them, under the name of mnist; and a schedule that takes a second."""
    complete = datasets.load("mnist")
    assert complete.train_labels is not None and complete.test_labels is not None
    few = datasets.Dataset(
        "mnist",
        complete.train[:1000],
        complete.test[:500],
        complete.train_labels[:1000],
        complete.test_labels[:500],
    )
    schedule = Schedule(stages=(Stage(28, 3),), batch_size=50, peak_rate=0.05, crop_padding=2, flip=False)
    monkeypatch.setattr(datasets, "load", lambda *_: few)
    monkeypatch.setattr(lenet, "SCHEDULES", {"cpu": schedule, "gpu": schedule})
    return few


def test_the_shipped_lenet_knows_99_percent_of_the_test_digits() -> None:
    data = datasets.load("mnist")
    judge = finding.judge_for("mnist")
    accuracy = float((judge.predict(data.test) == data.test_labels).mean())
    assert accuracy >= 0.99
    assert judge.metadata["accuracy"] == pytest.approx(accuracy, abs=2e-4)
    assert judge.metadata["fingerprint"] == data.fingerprint
    assert judge.name == "LeNet"
    assert judge.dimensions == 84


def test_the_shipped_resnet18_is_right_as_often_as_it_says(tmp_path: Path) -> None:
    """On 200 real test images, twenty of each class: within four standard errors."""
    archive = Path(__file__).parents[4] / "shared" / "data" / "cifar10-jpeg.tar.xz"
    if not archive.exists():
        pytest.skip("CIFAR-10 is not here")
    chosen = ["--wildcards", "*test/*/00[01]?.jpg"]
    subprocess.run(["tar", "-xJf", archive, "-C", tmp_path, *chosen], check=True)
    paths = sorted(tmp_path.rglob("*.jpg"))
    pixels = np.stack([np.moveaxis(np.asarray(Image.open(path)), 2, 0) for path in paths])
    labels = np.array([CLASSES.index(path.parent.name) for path in paths])
    assert len(paths) == 200 and set(labels) == set(range(10))
    judge = finding.judge_for("cifar10")
    right = float((judge.predict(pixels) == labels).mean())
    told = judge.metadata["accuracy"]
    assert abs(right - told) < 4 * (told * (1 - told) / 200) ** 0.5
    assert all(path.stat().st_size < 16e6 for path in weights.PACKAGED.iterdir())


def test_features_are_what_the_last_layer_sees() -> None:
    judge = finding.judge_for("mnist")
    images = mnist_pixels("t10k", 30)
    features = judge.features(images.numpy(), batch_size=7)
    assert features.shape == (30, 84)
    assert features.dtype == np.float64
    with torch.no_grad():
        logits = judge.model(images.float() / 255)
    assert np.array_equal(judge.classify(features), logits.argmax(1).numpy())
    with pytest.raises(TypeError, match="uint8"):
        judge.features(images.float())


def test_features_are_taken_in_full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, cuDNN would round the factors of a float32 convolution to 10 bits."""
    judge = finding.judge_for("mnist")
    seen = []

    def features(images: torch.Tensor) -> torch.Tensor:
        seen.append(torch.backends.cudnn.allow_tf32)
        return images.flatten(1)[:, :84]

    monkeypatch.setattr(judge.model, "features", features)
    judge.features(np.zeros((3, 1, 28, 28), np.uint8))
    assert seen == [False]


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_the_layout_of_the_images_in_memory_leaves_the_features_alone(dataset: str) -> None:
    """Against the same network as it is built: rows of one channel after the other."""
    judge = finding.judge_for(dataset)
    shape = (6, 1, 28, 28) if dataset == "mnist" else (6, 3, 32, 32)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    module = lenet if dataset == "mnist" else resnet18
    model = module.build().eval()
    model.load_state_dict({name: each.contiguous() for name, each in judge.model.state_dict().items()})
    with torch.inference_mode():
        expected = model.features(torch.from_numpy(images).float() / 255).numpy()
    assert judge.features(images) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_scoring_trains_no_judge_and_says_which_command_does(
    few_digits: datasets.Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(weights, "PACKAGED", own_cache / "nothing")
    with pytest.raises(Unavailable, match="bench train-judge mnist"):
        finding.judge_for("mnist")
    judge_training.train_judge("mnist")
    said = capsys.readouterr().err
    assert "training LeNet on 1000 images of mnist" in said
    assert "minutes left" in said
    judge = finding.judge_for("mnist")
    measured = (judge.predict(few_digits.test) == few_digits.test_labels).mean()
    assert judge.metadata["accuracy"] == pytest.approx(measured)
    assert measured > 0.6
    assert judge.metadata["fingerprint"] == few_digits.fingerprint
    assert judge.metadata["weights"] == weights.fingerprint(judge.model.state_dict())
    assert kept_files() == ["lenet-mnist.safetensors"]


def test_prepare_trains_the_judge_that_is_not_there_and_no_other(
    few_digits: datasets.Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cli.prepare.load", lambda *_: few_digits)
    for expected in ([], ["lenet-mnist.safetensors"]):
        with pytest.raises(SystemExit) as ended:
            main(["prepare", "--dataset", "mnist"])
        assert not ended.value.code
        assert (kept_files() if weights_folder().exists() else []) == expected
        monkeypatch.setattr(weights, "PACKAGED", own_cache / "nothing")
        finding._judge_for.cache_clear()


def kept_files() -> list[str]:
    return [path.name for path in weights_folder().iterdir() if path.name[0] != "."]


def test_weights_of_the_user_s_own_training_come_before_the_package_s(few_digits: datasets.Dataset) -> None:
    judge_training.train_judge("mnist")
    own = weights.load(weights_folder(), "lenet-mnist")[1]
    assert own["weights"] != weights.load(weights.PACKAGED, "lenet-mnist")[1]["weights"]
    assert finding.judge_for("mnist").metadata == own
    at_hand = finding.judge_at_hand("mnist")
    assert at_hand is not None and at_hand.metadata == own


def test_own_weights_stand_in_for_damaged_ones_of_the_package(
    few_digits: datasets.Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = own_cache / "package"
    damaged.mkdir(parents=True)
    (damaged / "lenet-mnist.safetensors").write_bytes(b"torn")
    monkeypatch.setattr(weights, "PACKAGED", damaged)
    judge_training.train_judge("mnist")
    assert finding.judge_for("mnist").metadata == weights.load(weights_folder(), "lenet-mnist")[1]


def test_a_training_waits_for_one_that_runs(
    few_digits: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_training, "LOOK_SECONDS", 0.05)
    said: list[str] = []
    with ThreadPoolExecutor() as pool:
        with judge_training.alone(said.append):
            by_hand = pool.submit(judge_training.train_judge, "mnist", say=said.append)
            wait_for(lambda: said)
            assert said == ["another process trains a judge; waiting for it"]
        by_hand.result()
    assert said[1].startswith("training LeNet")


def test_a_killed_training_of_a_judge_goes_on(
    few_digits: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_SECONDS", -1.0)
    whole = judge_training.train_judge("mnist", output=tmp_path / "whole")

    def kill(line: str) -> None:
        if line.startswith("step"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge_training.train_judge("mnist", output=tmp_path / "killed", say=kill)
    assert not (tmp_path / "killed").exists()
    assert (weights_folder() / "lenet-mnist.checkpoint").exists()
    said: list[str] = []
    resumed = judge_training.train_judge("mnist", output=tmp_path / "killed", say=said.append)
    # Killed in its 10th step, which is not in the checkpoint then; it tells of the 10th from there.
    assert next(line for line in said if line.startswith("step")).startswith("step 19 of 60")
    assert resumed == whole
    assert (
        weights.load(tmp_path / "killed", "lenet-mnist")[1]
        == weights.load(tmp_path / "whole", "lenet-mnist")[1]
    )


def test_fewer_images_than_one_batch_are_refused(
    few_digits: datasets.Dataset, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    schedule = replace(lenet.SCHEDULES["cpu"], batch_size=1001)
    monkeypatch.setattr(lenet, "SCHEDULES", {"cpu": schedule, "gpu": schedule})
    with pytest.raises(SystemExit) as ended:
        main(["train-judge", "mnist"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: 1000 training images are fewer than one batch of 1001; give more"
    ]


def few_scores() -> dict[str, dict[str, Any]]:
    """The scores of black images in the place of 100 real digits."""
    truth = mnist_pixels("t10k", 100).numpy()
    black = np.zeros(truth.shape, np.float32)
    observed, labels = np.zeros((100, 1, 28, 28), bool), np.zeros(100, np.int64)
    return score_all(Scoring(truth, black, observed, labels, truth, "sha256:0", "mnist"))


def test_damaged_weights_cost_no_other_score(own_cache: Path) -> None:
    weights_folder().mkdir(parents=True)
    (weights_folder() / "lenet-mnist.safetensors").write_bytes(b"torn")
    scores = few_scores()
    assert scores["rmse"]["value"] > 0
    for name in ("fid", "scc"):
        assert scores[name]["value"] is None
        assert "lenet-mnist.safetensors cannot be read" in scores[name]["reason"]
        assert "\n" not in scores[name]["reason"]


def test_a_checkpoint_of_another_schedule_is_refused(
    few_digits: datasets.Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "PACKAGED", own_cache / "nothing")
    checkpoint = weights_folder() / "lenet-mnist.checkpoint"
    checkpoint.parent.mkdir(parents=True)
    safetensors.torch.save_file({"a": torch.zeros(1)}, checkpoint, {"key": "other", "step": "1"})
    with pytest.raises(BenchError, match="was made with another schedule or other images: remove it"):
        judge_training.train_judge("mnist")


def test_a_full_disk_stops_the_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> judges.Judge:
        raise CannotWrite("cannot write there: No space left on device; make room there")

    monkeypatch.setattr("bench.metrics.fid.judge_for", full)
    with pytest.raises(CannotWrite, match="No space left"):
        few_scores()


def test_damaged_weights_are_refused_in_one_line(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own_cache / "damaged"
    shutil.copytree(weights.PACKAGED, folder)
    monkeypatch.setattr(weights, "PACKAGED", folder)
    path = folder / "lenet-mnist.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BenchError, match=r"lenet-mnist\.safetensors cannot be read") as caught:
        finding.judge_for("mnist")
    assert "\n" not in str(caught.value)


def test_other_data_sets_have_no_judge() -> None:
    with pytest.raises(Unavailable, match="no judge for the data set 'flowers'"):
        finding.judge_for("flowers")


def test_only_known_judges_are_trained() -> None:
    with pytest.raises(BenchError, match="did you mean 'cifar10'"):
        judge_training.train_judge("cifar")
