"""The test images that every cell keeps: complete, observed, and imputed by the method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.report.groups import Group
from bench.report.layout import Line, all_lines
from bench.store.results import Result
from bench.util.files import read_arrays
from bench.util.text import clean

RULE = "evenly spaced over the stored ones, and the same for every method"

LARGEST_BYTES = 500_000_000
"""The 64 images that a cell keeps take this much if they have three million values each."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The stored test images of one cell.

    Attributes:
        index: (K,) int64, their positions among the problem's test images.
        complete, imputed: (K, C, H, W) uint8; observed pixels of `imputed` are the true ones.
        observed: (K, 1, H, W) bool.
    """

    index: NDArray[np.int64]
    complete: NDArray[np.uint8]
    observed: NDArray[np.bool_]
    imputed: NDArray[np.uint8]

    def squared_errors(self, position: int) -> NDArray[np.float64]:
        """(H, W): one image's squared errors on the scale [0, 1], the mean over channels."""
        differences = self.imputed[position] / 255 - self.complete[position] / 255
        errors: NDArray[np.float64] = (differences**2).mean(axis=0)
        return errors

    def shares_problem_with(self, other: Samples) -> bool:
        """Whether both are of the same images with the same pixels observed."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("index", "complete", "observed")
        )


@dataclass(frozen=True, eq=False)
class SampleSet:
    """The same test images imputed by all methods: one data set, rate and seed.

    Attributes:
        truth: the samples of one of the methods, for the arrays that all share.
        by_line: each method's samples, in the order of the tables.
        without: the methods without samples, and why each has none.
    """

    dataset: str
    rate: float
    seed: int
    truth: Samples
    by_line: dict[Line, Samples]
    without: dict[Line, str]


def read_samples(result: Result) -> Samples:
    """A cell's `samples.npz`.

    Raises:
        ValueError: the file is missing, cannot be read, or does not hold such arrays; one line.
    """
    path = result.path.with_name("samples.npz")
    try:
        index, complete, observed, imputed = read_arrays(
            path, ("index", "complete", "observed", "imputed"), LARGEST_BYTES
        )
    except OSError as error:
        raise ValueError(f"samples.npz cannot be read ({error.strerror or 'damaged'})") from error
    except Exception as error:
        # A damaged archive can raise nearly anything.
        raise ValueError("samples.npz is damaged") from error
    if not all(isinstance(array, np.ndarray) for array in (index, complete, observed, imputed)):
        raise ValueError("samples.npz is damaged")
    shape = complete.shape
    fits = (
        len(shape) == 4
        and shape[0] > 0
        and shape[1] in (1, 3)
        and (imputed.shape, complete.dtype, imputed.dtype) == (shape, np.dtype(np.uint8), np.dtype(np.uint8))
        and (observed.shape, observed.dtype) == ((shape[0], 1, *shape[2:]), np.dtype(np.bool_))
        and index.shape == shape[:1]
    )
    if not fits:
        raise ValueError("samples.npz does not hold images as it should")
    return Samples(index, complete, observed, imputed)


def sample_sets(group: Group, dataset: str, seed: int | None = None) -> list[SampleSet]:
    """The stored images of one data set, a set for each rate.

    Args:
        seed: the seed of the cells; if None, the smallest one stored at each rate.
    """
    lines = [line for line in all_lines(group) if line.dataset == dataset]
    rates = sorted({result.cell.rate for line in lines for result in line.results if result.ok})
    found = (_at_rate(group, lines, dataset, rate, seed) for rate in rates)
    return [one for one in found if one is not None]


def _at_rate(
    group: Group, lines: Sequence[Line], dataset: str, rate: float, seed: int | None
) -> SampleSet | None:
    seeds = sorted({one.cell.seed for line in lines for one in line.at(rate) if one.ok})
    if seed is None:
        seed = seeds[0]
    truth: Samples | None = None
    by_line: dict[Line, Samples] = {}
    without: dict[Line, str] = {}
    for line in lines:
        results = [result for result in line.at(rate) if result.cell.seed == seed]
        if not results:
            without[line] = "not run"
            continue
        if not results[0].ok:
            without[line] = results[0].metric("rmse").reason
            continue
        try:
            samples = read_samples(results[0])
        except ValueError as error:
            without[line] = clean(str(error))
            continue
        truth = truth or samples
        if samples.shares_problem_with(truth):
            by_line[line] = samples
        else:
            without[line] = "its stored images differ from those of the other methods"
    return None if truth is None else SampleSet(dataset, rate, seed, truth, by_line, without)


def chosen_images(count: int, stored: int, asked: Sequence[int] = ()) -> list[int]:
    """Which of the stored images to show: those asked for, or else `count` evenly spaced ones.

    Returns:
        Positions among the stored images, from 0.

    Raises:
        BenchError: an image that is asked for is not stored.
    """
    for position in asked:
        if not 0 <= position < stored:
            raise BenchError(f"image {position} is not stored; choose from 0 to {stored - 1}")
    count = min(count, stored)
    return list(asked) or [position * stored // count for position in range(count)]
