"""A problem is a data set, a mechanism, a rate, a seed and sizes. It is the same for every method."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import datasets
from bench.errors import BenchError
from bench.problem.missingness import Draws, mechanism_of
from bench.util.cache import cache_dir, is_as_written, written_whole
from bench.util.files import cannot_write
from bench.util.text import file_name

Pixels = NDArray[np.uint8]

LARGEST_SEED = 2**32 - 1
"""The largest seed that every generator in use accepts."""


@dataclass(frozen=True)
class Problem:
    """What identifies a problem before any pixel is read.

    Attributes:
        dataset: a data set's name or path.
        mechanism: as `mechanism_of` reads it.
        rate: the fraction of pixels missing, in (0, 1).
        seed: of the masks; also of the methods.
        train, test: how many images of each split; None for all.
        strict: the splits whose size the user gave. A data set with fewer images is refused there. A preset's
            size is only an upper limit: a smaller split is taken whole.

    Raises:
        BenchError: the rate, the seed, the mechanism or a size is impossible.
    """

    dataset: str
    mechanism: str = "pixel"
    rate: float = 0.8
    seed: int = 0
    train: int | None = None
    test: int | None = None
    strict: tuple[str, ...] = ("train", "test")

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise BenchError(
                f"rate {self.rate:g} is not in (0, 1): it is the fraction of pixels missing, such as 0.8"
            )
        if not 0 <= self.seed <= LARGEST_SEED:
            raise BenchError(f"seed {self.seed} is not possible: give whole numbers from 0 to {LARGEST_SEED}")
        mechanism_of(self.mechanism)
        for split, size in (("train", self.train), ("test", self.test)):
            if size is not None and size < 1:
                raise BenchError(f"{split} size {size} is not possible: give at least 1")


@dataclass(frozen=True)
class PosedProblem:
    """A problem's arrays on disk: the incomplete ones for the method, the complete ones for the scorer.

    Attributes:
        incomplete: folder with `{train,test}-{pixels,observed}.npy`; all that a method's process opens.
        complete: folder with `{train,test}.npy` and, if there are classes, `test-labels.npy`.
        facts: `fingerprint`, `observed`, `train`, `test`, `official`, as results record them.
        display_name, citation: what the data set says of itself.
    """

    incomplete: Path
    complete: Path
    facts: dict[str, Any]
    display_name: str = ""
    citation: str = ""

    @cached_property
    def truth(self) -> Pixels:
        """(N, C, H, W), uint8: the complete test images."""
        return _open(self.complete / "test.npy")

    @cached_property
    def train_truth(self) -> Pixels:
        """(N, C, H, W), uint8: the complete training images."""
        return _open(self.complete / "train.npy")

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """(N,), int64: the classes of the test images, or None."""
        path = self.complete / "test-labels.npy"
        return np.load(path) if path.exists() else None

    @cached_property
    def observed(self) -> NDArray[np.bool_]:
        """(N, 1, H, W), bool: what is observed of the test images."""
        return open_incomplete(self.incomplete, "test")[1]


@lru_cache(maxsize=1)
def load(name: str, data_dir: Path | None) -> datasets.Dataset:
    """The data set. The last one is kept in memory, since problems on one data set follow each other."""
    return datasets.load(name, data_dir)


def choose(problem: Problem, data_dir: Path | None) -> tuple[datasets.Dataset, dict[str, NDArray[np.int64]]]:
    """The data set, and the indices of the images that the problem takes, by split.

    Raises:
        BenchError: the data set cannot be read or has fewer images than asked for.
    """
    dataset = load(problem.dataset, data_dir)
    chosen: dict[str, NDArray[np.int64]] = {}
    for split, images, size in (
        ("train", dataset.train, problem.train),
        ("test", dataset.test, problem.test),
    ):
        if size is not None and size > len(images):
            if split in problem.strict:
                raise BenchError(
                    f"{dataset.name} has {len(images)} {split} images; {size} were asked for: "
                    f"give a smaller --{split}"
                )
            size = None
        chosen[split] = datasets.subset(len(images), size)
    return dataset, chosen


def pose(problem: Problem, data_dir: Path | None = None) -> PosedProblem:
    """Read the data set, draw the masks, and write complete and incomplete arrays into separate folders.

    The folders lie in the cache. If they are there as they were written, nothing is
    drawn or written; damaged ones are made anew.

    Raises:
        BenchError: the data set cannot be read or has fewer images than asked for, or the cache folder cannot
            be written.
    """
    dataset, chosen = choose(problem, data_dir)
    complete, incomplete = _folders(problem, dataset, chosen)
    try:
        if _lacks(complete):
            _write_complete(complete, dataset, chosen)
        if _lacks(incomplete):
            _write_incomplete(incomplete, problem, dataset, chosen)
    except OSError as error:
        raise cannot_write(error.filename or complete.parent, error) from error
    facts = json.loads((incomplete / "facts.json").read_text())
    facts |= {"fingerprint": dataset.fingerprint, "official": dataset.official}
    return PosedProblem(incomplete, complete, facts, dataset.display_name, dataset.citation)


def facts_of(problem: Problem, data_dir: Path | None = None) -> dict[str, Any]:
    """The facts that `PosedProblem.facts` would hold. Nothing is written.

    Raises:
        BenchError: as `pose`.
    """
    dataset, chosen = choose(problem, data_dir)
    try:
        posed = json.loads((_folders(problem, dataset, chosen)[1] / "facts.json").read_text())
        facts: dict[str, Any] = dict(posed)
    except (OSError, ValueError, TypeError):
        drawn = (_observed(problem, split, dataset, chosen) for split in ("train", "test"))
        facts = _facts([np.packbits(observed) for observed in drawn], chosen)
    return facts | {"fingerprint": dataset.fingerprint, "official": dataset.official}


def _folders(
    problem: Problem, dataset: datasets.Dataset, chosen: dict[str, NDArray[np.int64]]
) -> tuple[Path, Path]:
    """Where the complete and the incomplete arrays lie in the cache."""
    sizes = f"{len(chosen['train'])}-{len(chosen['test'])}"
    # The same pixels may come with other labels.
    labels = b"" if dataset.test_labels is None else dataset.test_labels.tobytes()
    identity = f"{dataset.fingerprint}/{hashlib.sha256(labels).hexdigest()}/{sizes}"
    masks = file_name(f"{problem.mechanism}-{problem.rate!r}-seed-{problem.seed}")
    return (
        cache_dir() / "complete" / _short(identity),
        cache_dir() / "incomplete" / f"{_short(identity)}-{masks}",
    )


def _observed(
    problem: Problem, split: str, dataset: datasets.Dataset, chosen: dict[str, NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """(N, 1, H, W), bool: what is observed of one split."""
    mechanism = mechanism_of(problem.mechanism)
    images = {"train": dataset.train, "test": dataset.test}[split]
    size = (len(chosen[split]), *images.shape[2:])
    pixels = images[chosen[split]] if mechanism.sees_pixels else None
    return mechanism.observed(size, problem.rate, Draws(mechanism.name, problem.seed, split), pixels)


def _facts(drawn: list[NDArray[np.uint8]], chosen: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
    """The hash of the packed masks, train before test, and the numbers of images."""
    digest = hashlib.sha256()
    for bits in drawn:
        digest.update(bits.tobytes())
    return {
        "observed": f"sha256:{digest.hexdigest()}",
        "train": len(chosen["train"]),
        "test": len(chosen["test"]),
    }


def open_incomplete(folder: Path, split: str) -> tuple[Pixels, NDArray[np.bool_]]:
    """One split of a posed problem, as a method sees it.

    Returns:
        pixels (N, C, H, W) uint8, memory-mapped, 0 where missing; observed (N, 1, H, W) bool.
    """
    pixels = _open(folder / f"{split}-pixels.npy")
    count, _, height, width = pixels.shape
    bits = np.load(folder / f"{split}-observed.npy")
    observed = np.unpackbits(bits, count=count * height * width).view(bool)
    return pixels, observed.reshape(count, 1, height, width)


def _lacks(folder: Path) -> bool:
    """Whether a folder must be written. An incomplete or damaged one is removed first."""
    # A folder appears whole, in one step. If it is absent, another process may be about to put it there, so
    # only a folder that was seen is removed.
    if not folder.is_dir():
        return True
    whole = is_as_written(folder)
    if not whole:
        shutil.rmtree(folder, ignore_errors=True)
    return not whole


def _write_complete(folder: Path, dataset: datasets.Dataset, chosen: dict[str, NDArray[np.int64]]) -> None:
    with written_whole(folder) as draft:
        np.save(draft / "train.npy", dataset.train[chosen["train"]])
        np.save(draft / "test.npy", dataset.test[chosen["test"]])
        if dataset.test_labels is not None:
            np.save(draft / "test-labels.npy", dataset.test_labels[chosen["test"]])


def _write_incomplete(
    folder: Path, problem: Problem, dataset: datasets.Dataset, chosen: dict[str, NDArray[np.int64]]
) -> None:
    drawn = []
    with written_whole(folder) as draft:
        for split, images in (("train", dataset.train), ("test", dataset.test)):
            observed = _observed(problem, split, dataset, chosen)
            drawn.append(np.packbits(observed))
            np.save(draft / f"{split}-pixels.npy", images[chosen[split]] * observed)
            np.save(draft / f"{split}-observed.npy", drawn[-1])
        (draft / "facts.json").write_text(json.dumps(_facts(drawn, chosen)))


def _open(path: Path) -> Pixels:
    pixels: Pixels = np.load(path, mmap_mode="r")
    return pixels


def _short(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:24]
