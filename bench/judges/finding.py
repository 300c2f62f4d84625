"""A data set's judge, with its weights from wherever they lie."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

from torch import nn

from bench.classifiers import facenet, faceresnet, weights
from bench.datasets import BUILT_IN, called
from bench.datasets.locations import weights_folder
from bench.errors import BenchError, Unavailable
from bench.judges.judge import Judge, describe
from bench.judges.known import (
    FACENET_FILES,
    TRAINED,
    Trained,
    facenet_file,
    has_first_choice,
    judges_of_pixels,
)


def judge_for(dataset: str, data_dir: Path | None = None, fingerprint: str = "") -> Judge:
    """The judge of a data set, with its weights.

    LeNet judges MNIST and ResNet18 CIFAR-10. Their weights come from the cache folder, where
    `bench train-judge` puts a user's own, and then from the package. FaceNet judges CelebA where its file is
    given, and else FaceResNet, which comes with the package. A judge that `bench train-judge` trained on
    other images is found by their fingerprint. Nothing is fetched or trained here.

    Args:
        dataset: its name or path.
        data_dir: a folder in which FaceNet's weights are looked for.
        fingerprint: of the complete pixels.

    Raises:
        Unavailable: the data set has no judge, or its weights cannot be had.
        BenchError: a file of weights is damaged.
    """
    return _judge_for(dataset, data_dir, "" if dataset in BUILT_IN else fingerprint)


@functools.lru_cache(maxsize=4)
def _judge_for(dataset: str, data_dir: Path | None, fingerprint: str) -> Judge:
    if dataset in TRAINED:
        return _trained(dataset)
    if has_first_choice(dataset):
        path = facenet_here(data_dir)
        return _facenet(path) if path else _faceresnet()
    own = _trained_on(fingerprint)
    if own is None:
        raise Unavailable(
            f"no judge for the data set {called(dataset)!r}; if its images have labels, bench train-judge "
            "trains one"
        )
    return own


def judge_at_hand(dataset: str, data_dir: Path | None = None, fingerprint: str = "") -> Judge | None:
    """As `judge_for`, but None if the judge has no weights here."""
    if dataset in TRAINED:
        return _kept(TRAINED[dataset])
    return judge_for(dataset, data_dir) if dataset in BUILT_IN else _trained_on(fingerprint)


def _trained_on(fingerprint: str) -> Judge | None:
    """The judge that was trained on the pixels with this fingerprint; None if there is none."""
    for spec in judges_of_pixels(fingerprint):
        kept = _kept(spec)
        if kept is not None and kept.metadata.get("fingerprint") == fingerprint:
            return kept
    return None


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
    model: nn.Module = importlib.import_module(spec.module).build(classes=facts.get("classes", 10))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise BenchError(
            f"{folder / spec.weights}*.safetensors does not fit {facts.get('judge')}; train it again "
            f"with bench train-judge"
        ) from error
    return Judge(model, facts)


def _faceresnet() -> Judge:
    try:
        state, facts = weights.load(weights.PACKAGED, faceresnet.WEIGHTS)
    except (weights.WeightsError, FileNotFoundError) as error:
        raise BenchError(f"{error}; install bench again") from error
    return Judge(faceresnet.from_stored(state), facts, has_classes=False)


def _facenet(path: Path) -> Judge:
    try:
        model = facenet.from_file(path)
    except facenet.FaceNetUnavailable as error:
        raise Unavailable(
            f"{error}; replace it by the file with the VGGFace2 weights, or take it away: another judge then "
            f"stands in for FaceNet"
        ) from error
    metadata = {**describe(model), "weights": weights.fingerprint(model.network.state_dict())}
    return Judge(model, metadata, has_classes=False)


def facenet_here(data_dir: Path | None) -> Path | None:
    """A file with FaceNet's weights: one for bench, else what facenet-pytorch has fetched; None for neither.

    Raises:
        BenchError: BENCH_FACENET names no file.
    """
    return facenet_file(data_dir) or facenet.downloaded(FACENET_FILES[1])


def fetch_facenet() -> None:
    """Let facenet-pytorch download FaceNet's weights and keep them; `facenet_here` finds them from then on.

    Raises:
        Unavailable: the download failed.
    """
    try:
        facenet.from_download()
    except facenet.FaceNetUnavailable as error:
        raise Unavailable(str(error)) from error
