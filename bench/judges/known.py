"""The judges that there are, and what each of them needs on this machine. Nothing here imports torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from bench.datasets import BUILT_IN, judge_of
from bench.datasets.locations import data_folder, weights_folder
from bench.errors import BenchError

FACENET = "facenet"
JUDGES = {
    "lenet": "LeNet",
    "resnet18": "ResNet18",
    FACENET: "FaceNet where its file is given, else FaceResNet, which comes with the package",
}
FACENET_FILES = ("facenet.safetensors", "20180402-114759-vggface2.pt")


@dataclass(frozen=True)
class Trained:
    """A judge that a command of ours trains.

    Attributes:
        module: of the classifier.
        weights: what the files of its weights are called.
        half: whether the weights are kept in half precision.
    """

    module: str
    weights: str
    half: bool


_TRAINED = {
    "lenet": Trained("bench.classifiers.lenet", "lenet-mnist", half=False),
    "resnet18": Trained("bench.classifiers.resnet18", "resnet18-cifar10", half=True),
}

TRAINED = {dataset: _TRAINED[judge] for dataset in BUILT_IN if (judge := judge_of(dataset)) in _TRAINED}
"""By data set."""

SMALL = 32
"""LeNet judges grey images up to this width and height."""


def judge_to_train(fingerprint: str, channels: int, height: int, width: int) -> Trained:
    """The judge of a user's own images: LeNet if they are grey and small, else ResNet18.

    Its weights are found again by the fingerprint of the complete pixels.
    """
    judge = "lenet" if channels == 1 and max(height, width) <= SMALL else "resnet18"
    return _for_pixels(judge, fingerprint)


def judges_of_pixels(fingerprint: str) -> list[Trained]:
    """Every judge that could have been trained on the pixels with this fingerprint."""
    return [_for_pixels(judge, fingerprint) for judge in _TRAINED]


def _for_pixels(judge: str, fingerprint: str) -> Trained:
    return replace(_TRAINED[judge], weights=f"{judge}-{fingerprint.removeprefix('sha256:')[:16]}")


def refuse_absent_files(dataset: str, data_dir: Path | None) -> None:
    """Refuse to run on a data set if the user has named a file for its judge that is not there.

    Raises:
        BenchError: it is not there.
    """
    if judge_of(dataset) == FACENET:
        facenet_file(data_dir)


def has_first_choice(dataset: str) -> bool:
    """Whether a data set has FaceNet for a judge where its file is given, and elsewhere another one."""
    return judge_of(dataset) == FACENET


def how_to_get_facenet(dataset: str) -> str:
    """What to do so that FaceNet, whose weights do not come with the package, judges a data set."""
    return (
        f"for FIDs by it, put {FACENET_FILES[1]} into {weights_folder()}, or set BENCH_FACENET to it; "
        f"bench rescore --dataset {dataset} then scores by it what was run without"
    )


def told(dataset: str) -> str:
    """The judge of a built-in data set, as lists of data sets name it."""
    return JUDGES[judge_of(dataset) or ""]


def facenet_file(data_dir: Path | None = None) -> Path | None:
    """A file with FaceNet's weights: what BENCH_FACENET names, else one in the data or the judges' folder.

    Raises:
        BenchError: BENCH_FACENET names no file.
    """
    given = os.environ.get("BENCH_FACENET")
    if given:
        if not Path(given).is_file():
            raise BenchError(f"BENCH_FACENET {given} is not a file; name the file with FaceNet's weights")
        return Path(given)
    folders = [folder for folder in (data_folder(data_dir), weights_folder()) if folder]
    candidates = (folder / name for folder in folders for name in FACENET_FILES)
    return next((path for path in candidates if path.is_file()), None)
