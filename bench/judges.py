"""Which classifier judges a data set, and where its weights come from."""

from __future__ import annotations

import functools
import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.cache import cache_dir
from bench.datasets.locations import FACENET_FILES, facenet_file, weights_folder
from bench.errors import BenchError, Unavailable
from bench.files import write_atomically
from classifiers import facenet, weights


@dataclass(frozen=True)
class Trained:
    """A judge that a command of ours trains: its module in `classifiers`, and its weights' name."""

    module: str
    weights: str
    half: bool


TRAINED = {
    "mnist": Trained("classifiers.lenet", "lenet-mnist", half=False),
    "cifar10": Trained("classifiers.resnet18", "resnet18-cifar10", half=True),
}


@dataclass(frozen=True, eq=False)
class Judge:
    """A classifier with its weights.

    Attributes:
        model: a module of `classifiers`, in evaluation mode.
        metadata: `judge`, `layer`, `dimensions`, `normalisation`, `weights` (their hash), and for a
            trained judge `accuracy` and what the training recorded.
        has_classes: whether `predict` works.
    """

    model: nn.Module
    metadata: Mapping[str, Any]
    has_classes: bool = True
    device: torch.device = field(default_factory=lambda: best_device())

    def __post_init__(self) -> None:
        self.model.to(self.device).requires_grad_(False).eval()

    @property
    def name(self) -> str:
        name: str = self.metadata["judge"]
        return name

    @property
    def dimensions(self) -> int:
        dimensions: int = self.metadata["dimensions"]
        return dimensions

    @torch.inference_mode()
    def features(self, images: NDArray[np.uint8] | Tensor, batch_size: int = 250) -> NDArray[np.float64]:
        """(N, dimensions): what the last layer sees of uint8 images (N, C, H, W)."""
        of: Any = self.model.features
        features = np.empty((len(images), self.dimensions))
        starts = range(0, len(images), batch_size)
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            for start, batch in zip(starts, self._batches(images, batch_size), strict=True):
                features[start : start + batch_size] = of(batch).double().cpu().numpy()
        return features

    def predict(self, images: NDArray[np.uint8] | Tensor) -> NDArray[np.int64]:
        """(N,): the most likely class of each of uint8 images (N, C, H, W). Raises as `classify`."""
        return self.classify(self.features(images))

    @torch.inference_mode()
    def classify(self, features: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N,): the most likely class by features (N, dimensions).

        Raises:
            Unavailable: the judge knows no classes.
        """
        if not self.has_classes:
            raise Unavailable(f"{self.name} knows no classes, so images judged by it have no accuracy")
        output: Any = self.model.output
        classes: NDArray[np.int64] = (
            output(torch.from_numpy(features).float().to(self.device)).argmax(1).cpu().numpy()
        )
        return classes

    def features_of_complete(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The features of images that many cells share, kept in the cache folder.

        Kept under the hash of the pixels and of the weights, so that neither can be mistaken; by kind of
        device, since the last digits differ, and a perfect imputation's FID is 0.
        """
        identity = f"{images.shape} {self.metadata['weights']} {self.metadata['layer']} {self.device.type}"
        digest = hashlib.sha256(identity.encode())
        for start in range(0, len(images), 4096):
            digest.update(np.ascontiguousarray(images[start : start + 4096]).data)
        path = cache_dir() / "features" / f"{self.name.lower()}-{digest.hexdigest()[:32]}.npy"
        try:
            kept: NDArray[np.float64] = np.load(path, allow_pickle=False)
            if kept.shape == (len(images), self.dimensions):
                return kept
        except (OSError, ValueError, EOFError):
            pass
        features = self.features(images)
        write_atomically(path, lambda file: np.save(file, features))
        return features

    def _batches(self, images: NDArray[np.uint8] | Tensor, size: int) -> Any:
        if images.dtype not in (np.uint8, torch.uint8):
            raise TypeError(f"a judge takes uint8 images, not {images.dtype}")
        for start in range(0, len(images), size):
            # np.array copies: a read-only memory map would make torch warn.
            batch = images[start : start + size]
            pixels = batch if isinstance(batch, Tensor) else torch.from_numpy(np.array(batch))
            yield pixels.to(self.device).float() / 255


def best_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe(model: Any) -> dict[str, Any]:
    """What a classifier says of itself: `judge`, `layer`, `dimensions`, `normalisation`."""
    return {
        "judge": model.name,
        "layer": model.layer,
        "dimensions": model.dimensions,
        "normalisation": model.normalisation,
    }


def judge_for(dataset: str, data_dir: Path | None = None) -> Judge:
    """The judge of a data set, with its weights.

    LeNet judges MNIST, ResNet18 CIFAR-10, FaceNet CelebA. Weights come from the cache folder, where
    `bench train-judge` puts them, then from the package, so that a user's own training counts; where neither
    has them, LeNet and ResNet18 are trained now, and say so.

    Args:
        dataset: `mnist`, `cifar10`, `celeba`; any other has no judge.
        data_dir: where the training images, or FaceNet's weights, are looked for.

    Raises:
        Unavailable: the data set has no judge, or FaceNet's weights can't be had.
        BenchError: a file of weights is damaged, or a judge cannot be trained.
    """
    return _judge_for(dataset, data_dir)


@functools.lru_cache(maxsize=4)
def _judge_for(dataset: str, data_dir: Path | None) -> Judge:
    if dataset in TRAINED:
        return _trained(dataset, data_dir)
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


def _trained(dataset: str, data_dir: Path | None) -> Judge:
    spec = TRAINED[dataset]
    kept = _kept(spec)
    if kept is not None:
        return kept
    from bench.judge_training import alone, train_alone

    with alone():
        # Whoever was waited for has trained this judge, mostly.
        kept = _kept(spec)
        if kept is not None:
            return kept
        train_alone(dataset, data_dir)
    return _loaded(spec, weights_folder())


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
