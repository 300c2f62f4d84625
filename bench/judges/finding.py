"""A data set's judge, with its weights from wherever they lie."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

from torch import nn

from bench.classifiers import facenet, weights
from bench.datasets import BUILT_IN, judge_of
from bench.datasets.locations import weights_folder
from bench.errors import BenchError, Unavailable
from bench.judges.judge import Judge, describe
from bench.judges.known import FACENET, FACENET_FILES, TRAINED, Trained, facenet_file


def judge_for(dataset: str, data_dir: Path | None = None) -> Judge:
    """The judge of a data set, with its weights.

    LeNet judges MNIST, ResNet18 CIFAR-10, and FaceNet CelebA. Weights come from the cache folder, where
    `bench train-judge` puts a user's own, and then from the package. Nothing is trained here.

    Args:
        dataset: `mnist`, `cifar10` or `celeba`; no other data set has a judge.
        data_dir: a folder in which FaceNet's weights are looked for.

    Raises:
        Unavailable: the data set has no judge, or its weights cannot be had.
        BenchError: a file of weights is damaged.
    """
    return _judge_for(dataset, data_dir)


@functools.lru_cache(maxsize=4)
def _judge_for(dataset: str, data_dir: Path | None) -> Judge:
    if dataset in TRAINED:
        return _trained(dataset)
    if judge_of(dataset) == FACENET:
        return _facenet(data_dir)
    raise Unavailable(f"no judge for the data set {dataset!r}; {', '.join(BUILT_IN)} have one")


def judge_at_hand(dataset: str, data_dir: Path | None = None) -> Judge | None:
    """As `judge_for`, but nothing is fetched; None if the judge has no weights here.

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
    """The judge with the cache folder's weights, else the package's; None if neither has them."""
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
    """A file with FaceNet's weights: one for bench, else what facenet-pytorch has fetched; None for neither.

    Raises:
        BenchError: BENCH_FACENET names no file.
    """
    return facenet_file(data_dir) or facenet.downloaded(FACENET_FILES[1])
