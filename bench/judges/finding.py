"""Which judge a data set has, and where its weights lie."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bench.classifiers import facenet, weights
from bench.datasets.locations import FACENET_FILES, facenet_file, weights_folder
from bench.errors import BenchError, Unavailable
from bench.judges.judge import Judge, describe


@dataclass(frozen=True)
class Trained:
    """A judge that a command of ours trains: its module in `classifiers`, and its weights' name."""

    module: str
    weights: str
    half: bool


TRAINED = {
    "mnist": Trained("bench.classifiers.lenet", "lenet-mnist", half=False),
    "cifar10": Trained("bench.classifiers.resnet18", "resnet18-cifar10", half=True),
}


def judge_for(dataset: str, data_dir: Path | None = None) -> Judge:
    """The judge of a data set, with its weights.

    LeNet judges MNIST, ResNet18 CIFAR-10, FaceNet CelebA. A user's own training counts first: weights come
    from the cache folder, where `bench train-judge` puts them, then from the package. Nothing is trained
    here.

    Args:
        dataset: `mnist`, `cifar10`, `celeba`; any other has no judge.
        data_dir: where FaceNet's weights are looked for.

    Raises:
        Unavailable: the data set has no judge, or its weights cannot be had.
        BenchError: a file of weights is damaged.
    """
    return _judge_for(dataset, data_dir)


@functools.lru_cache(maxsize=4)
def _judge_for(dataset: str, data_dir: Path | None) -> Judge:
    if dataset in TRAINED:
        return _trained(dataset)
    if dataset == "celeba":
        return _facenet(data_dir)
    raise Unavailable(f"no judge for the data set {dataset!r}; mnist, cifar10 and celeba have one")


def judge_at_hand(dataset: str, data_dir: Path | None = None) -> Judge | None:
    """As `judge_for`, but nothing is trained or fetched; None where that would be needed.

    Raises:
        Unavailable, BenchError: a file of weights is damaged.
    """
    if dataset in TRAINED:
        return _kept(TRAINED[dataset])
    return _facenet(data_dir) if _facenet_here(data_dir) else None


def _trained(dataset: str) -> Judge:
    kept = _kept(TRAINED[dataset])
    if kept is None:
        raise Unavailable(f"its judge has no weights here; train it with bench train-judge {dataset}")
    return kept


def _kept(spec: Trained) -> Judge | None:
    """The judge with the cache folder's weights, else the package's; None where neither has them."""
    for folder in (weights_folder(), weights.PACKAGED):
        try:
            return _loaded(spec, folder)
        except FileNotFoundError:
            continue
    return None


def _loaded(spec: Trained, folder: Path) -> Judge:
    try:
        state, facts = weights.load(folder, spec.weights)
    except weights.WeightsError as error:
        raise BenchError(str(error)) from error
    model: nn.Module = importlib.import_module(spec.module).build()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise BenchError(
            f"{folder / spec.weights}*.safetensors does not fit {facts.get('judge')}; train it again "
            f"with bench train-judge"
        ) from error
    return Judge(model, facts)


def _facenet(data_dir: Path | None) -> Judge:
    path = _facenet_here(data_dir)
    try:
        model = facenet.from_file(path) if path else facenet.from_download()
    except facenet.FaceNetUnavailable as error:
        raise Unavailable(
            f"{error}; set BENCH_FACENET to a file with the VGGFace2 weights, or put {FACENET_FILES[1]} "
            f"into the data folder or where `bench doctor` says"
        ) from error
    metadata = {**describe(model), "weights": weights.fingerprint(model.network.state_dict())}
    return Judge(model, metadata, has_classes=False)


def _facenet_here(data_dir: Path | None) -> Path | None:
    """FaceNet's weights: a file for bench, else facenet-pytorch's own download; None where neither is there.

    Raises:
        BenchError: BENCH_FACENET names no file.
    """
    return facenet_file(data_dir) or facenet.downloaded(FACENET_FILES[1])
