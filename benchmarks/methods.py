"""Training steps and imputations a second of each method, ours and the textbook's."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer, Progress
from bench.methods.mcflow import MCFlow
from bench.methods.misgan import MisGAN
from bench.methods.pbigan import PBiGAN
from bench.methods.prflow import PRFlow
from benchmarks.fitting import Curve, fit_curve, method_of, split
from benchmarks.places import Place
from benchmarks.textbook import rendering

TEXTBOOK = "textbook"
SIDES = (TEXTBOOK, "float32", "bfloat16")
"""The textbook rendering, in float32, and ours in each precision."""

# A cycle of so many steps updates each network of each method equally often, wherever it begins.
CYCLE = 5

# As published, on 28x28 grey images.
METHODS: dict[str, Imputer] = {
    "mcflow": MCFlow(),
    "prflow": PRFlow(prior_weight=0.3),
    "misgan": MisGAN(),
    "pbigan": PBiGAN(),
}


def problem(count: int) -> MaskedImages:
    """`count` made images of 28x28, 80 % missing: what they show does not change the cost of a step."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=generator, dtype=torch.uint8, device="cpu")
    observed = torch.rand(count, 1, 28, 28, generator=generator, device="cpu") < 0.2
    return MaskedImages(pixels * observed, observed)


def measure(name: str, side: str, steps: int, images: int, place: Place) -> dict[str, float]:
    """Measure one side of one method, in this process.

    Args:
        name: of `METHODS`.
        side: of `SIDES`.
        steps: how many are timed, after as many that are not.
        images: how many are imputed.
        place: where it runs.

    Returns:
        steps_per_second, images_per_second, peak_memory_mb (of the whole process, or of what PyTorch holds on
        the GPU), and step_gflop, the arithmetic of a step's products and convolutions in 10^9 operations.
    """
    place.settle()
    method: Any = copy.copy(METHODS[name])
    method.epochs = 2
    second_epoch = _textbook if side == TEXTBOOK else partial(_ours, precision=side)
    train, new = problem(steps * method.batch_size), problem(images)
    took, impute = second_epoch(method, train, steps, place.clock, place)
    started = place.clock()
    with torch.no_grad():
        impute(new)
    imputed = place.clock() - started
    peak = place.peak_memory()
    # Arithmetic is proportional to the batch, so it is counted on a small one.
    batch_size, method.batch_size = method.batch_size, 2
    with Arithmetic() as done:  # type: ignore[no-untyped-call]
        operations, _ = second_epoch(method, problem(2 * CYCLE), CYCLE, lambda: done.operations, place)
    return {
        "steps_per_second": steps / took,
        "images_per_second": images / imputed,
        "peak_memory_mb": peak / 1e6,
        "step_gflop": operations / CYCLE * batch_size / 2 / 1e9,
    }


class Arithmetic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the floating-point operations of products and convolutions inside it.

    PyTorch's FlopCounterMode does too, but it follows modules by hooks, which fail where a gradient is asked
    for inside a forward pass.
    """

    operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            self.operations += count(*args, **(kwargs or {}), out_val=out)
        return out


def reach(name: str, side: str, images: int, epochs: int, place: Place) -> list[tuple[float, float]]:
    """(seconds, RMSE) at the end of each epoch of a `quick` fit to digits, 80 % missing, in this process.

    Args:
        epochs: at most 2, because the textbook's flows have no refresh.
    """
    place.settle()
    method: Any = method_of(name, "quick", {"epochs": epochs})
    data = split(0.8, images)
    if side != TEXTBOOK:
        return fit_curve(method, data, place.context(side)).points
    with place.default():
        curve = Curve(data)
        step, impute = rendering(method, data.train.to(place.device))
        batches = images // method.batch_size
        for number in range(epochs * batches):
            if number % batches == 0:
                order = torch.randperm(images)
            step(order[number % batches * method.batch_size :][: method.batch_size], number)
            if (number + 1) % batches == 0:
                with torch.no_grad():
                    curve.add(impute(curve.begin().to(place.device)))
    return curve.points


def seconds_of_ours(method: Any, train: MaskedImages, steps: int, context: FitContext) -> float:
    """Seconds of the second of two epochs of a fit."""
    return _second_epoch(method, train, steps, time.perf_counter, context)


def _ours(
    method: Any,
    train: MaskedImages,
    steps: int,
    reading: Callable[[], float],
    place: Place,
    precision: str,
) -> tuple[float, Callable[[MaskedImages], Tensor]]:
    """How much a reading grows in the second of two epochs, and `impute`."""
    return _second_epoch(method, train, steps, reading, place.context(precision)), method.impute


def _second_epoch(
    method: Any, train: MaskedImages, steps: int, reading: Callable[[], float], context: FitContext
) -> float:
    """How much a reading grows in the second of two epochs. An epoch ends with a report."""
    ends: dict[int, float] = {}

    def report(progress: Progress) -> None:
        if progress.step == steps * progress.epoch:
            ends[progress.epoch] = reading()

    method.fit(train, replace(context, report=report))
    return ends[2] - ends[1]


def _textbook(
    method: Any, train: MaskedImages, steps: int, reading: Callable[[], float], place: Place
) -> tuple[float, Callable[[MaskedImages], Tensor]]:
    with place.default():
        step, impute = rendering(method, train.to(place.device))

    def epoch() -> float:
        started = reading()
        with place.default():
            for number in range(steps):
                indices = torch.randperm(len(train))[: method.batch_size]
                step(indices, number)
        return reading() - started

    epoch()

    def in_batches(images: MaskedImages) -> Tensor:
        with place.default():
            return torch.cat([impute(batch.to(place.device)) for batch in images.batches(512)])

    return epoch(), in_batches
