"""What FID and SCC need to know of complete images: their features' mean and covariance, and their classes.

Many cells share the complete images, and a judge takes minutes for all of CIFAR-10. So this comes with the
package for the judges and data sets that come with it, and is kept in the cache folder for all others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from bench.judges.judge import Judge
from bench.util.cache import cache_dir, make_read_only
from bench.util.files import write_atomically

PACKAGED = Path(__file__).parent / "statistics"
CHUNK = 5000


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of a set of features.

    Attributes:
        count: how many images.
        mean: (d,), float64.
        covariance: (d, d), float64; the unbiased estimate.
    """

    count: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Complete:
    """What a judge says of a set of complete images.

    Attributes:
        moments: of its features.
        classes: (N,), int64, the most likely class of each image; None if the judge knows no classes.
    """

    moments: Moments
    classes: NDArray[np.int64] | None


def moments(features: NDArray[np.float64]) -> Moments:
    """Mean and covariance of features (N, d), without a centred copy of all of them."""
    mean = features.mean(axis=0)
    covariance = np.zeros((features.shape[1], features.shape[1]))
    for start in range(0, len(features), CHUNK):
        centred = features[start : start + CHUNK] - mean
        covariance += centred.T @ centred
    return Moments(len(features), mean, covariance / max(1, len(features) - 1))


def of_complete(judge: Judge, images: NDArray[np.uint8]) -> Complete:
    """What a judge says of complete images, uint8 (N, C, H, W).

    Taken from the package or the cache folder if it is there for these pixels and this judge's weights. Else
    it is computed, and kept in the cache folder. Processors and GPUs differ in the last digits of features;
    FID does not show them.

    Raises:
        CannotWrite: the cache folder cannot be written.
    """
    identity = identity_of(judge, images)
    name = file_name(judge, identity)
    kept_in = cache_dir() / "statistics"
    for folder in (PACKAGED, kept_in):
        kept = load(folder / name, identity, len(images), judge.dimensions)
        if kept:
            return kept
    complete = compute(judge, images)
    save(kept_in / name, complete, {"identity": identity, **facts_of(judge)})
    with contextlib.suppress(OSError):  # Another process may have removed it.
        make_read_only(kept_in / name)
    return complete


def compute(judge: Judge, images: NDArray[np.uint8]) -> Complete:
    """Look at complete images, uint8 (N, C, H, W)."""
    features = judge.features(images)
    return Complete(moments(features), judge.classify(features) if judge.has_classes else None)


def identity_of(judge: Judge, images: NDArray[np.uint8]) -> str:
    """A hash of the pixels, of the judge's weights and of its layer."""
    digest = hashlib.sha256(f"{images.shape} {judge.metadata['weights']} {judge.metadata['layer']}".encode())
    for start in range(0, len(images), 4096):
        digest.update(np.ascontiguousarray(images[start : start + 4096]).data)
    return digest.hexdigest()


def file_name(judge: Judge, identity: str) -> str:
    """The name of the file for an identity: it begins with the judge's."""
    return f"{judge.name.lower()}-{identity[:32]}.safetensors"


def facts_of(judge: Judge) -> dict[str, str]:
    """What a file says of its judge, for people who open it."""
    return {key: str(judge.metadata[key]) for key in ("judge", "layer", "weights")}


def save(path: Path, complete: Complete, facts: Mapping[str, str]) -> None:
    """Write a file that `load` reads, in one atomic step.

    Args:
        facts: must hold the `identity`.

    Raises:
        CannotWrite: it cannot be written.
    """
    rows, columns = np.tril_indices(len(complete.moments.mean))
    arrays = {"mean": complete.moments.mean, "covariance": complete.moments.covariance[rows, columns]}
    if complete.classes is not None:
        arrays["classes"] = complete.classes.astype(np.min_scalar_type(int(complete.classes.max())))
    facts = {**facts, "content": _content_of(arrays)}
    # safetensors writes several facts in an arbitrary order; as one, the same statistics give the same file.
    content = safetensors.numpy.save(arrays, {"facts": json.dumps(facts, sort_keys=True)})
    write_atomically(path, lambda file: file.write(content))


def _content_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """A hash of the values, by which a file that was damaged is known."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def load(path: Path, identity: str, count: int, dimensions: int) -> Complete | None:
    """Read what `save` wrote; None if the file is not there, is damaged, or has another identity.

    Files of the package may be older than the hash of the content, and are read without it.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        content = facts.get("content")
        hashed = content == _content_of(arrays) or (content is None and path.parent == PACKAGED)
        if facts["identity"] != identity or not hashed:
            return None
        covariance = np.zeros((dimensions, dimensions))
        covariance[np.tril_indices(dimensions)] = arrays["covariance"]
        covariance += np.tril(covariance, -1).T
        classes = arrays.get("classes")
        if arrays["mean"].shape != (dimensions,) or (classes is not None and classes.shape != (count,)):
            return None
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError):
        return None
    known = None if classes is None else classes.astype(np.int64)
    return Complete(Moments(count, arrays["mean"], covariance), known)
