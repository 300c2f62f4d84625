"""Training steps and imputations a second of each method, ours and the textbook's."""

from __future__ import annotations

import resource
import time
from typing import Any

import torch
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer, Progress
from benchmarks.fitting import Curve, fit_curve, method_of, split
from benchmarks.textbook import rendering
from methods.mcflow import MCFlow
from methods.misgan import MisGAN
from methods.pbigan import PBiGAN
from methods.prflow import PRFlow

# As published, on 28x28 grey images.
METHODS: dict[str, Imputer] = {
    "mcflow": MCFlow(),
    "prflow": PRFlow(prior_weight=0.3),
    "misgan": MisGAN(),
    "pbigan": PBiGAN(),
}


def problem(count: int) -> MaskedImages:
    """`count` made images of 28x28, 80 % missing: a step's cost does not hang on what they show."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=generator, dtype=torch.uint8)
    observed = torch.rand(count, 1, 28, 28, generator=generator) < 0.2
    return MaskedImages(pixels * observed, observed)


def measure(name: str, side: str, steps: int, images: int, threads: int) -> dict[str, float]:
    """Measure one side of one method, in this process.

    Args:
        name: of `METHODS`.
        side: "ours" or "textbook".
        steps: how many are timed, after as many that are not.
        images: how many are imputed.
        threads: CPU threads.

    Returns:
        steps_per_second, images_per_second, peak_memory_mb of the whole process.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    method: Any = METHODS[name]
    method.epochs = 2
    train, new = problem(steps * method.batch_size), problem(images)
    took, impute = (_ours if side == "ours" else _textbook)(method, train, steps)
    started = time.perf_counter()
    with torch.no_grad():
        impute(new)
    return {
        "steps_per_second": steps / took,
        "images_per_second": images / (time.perf_counter() - started),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }


def reach(name: str, side: str, images: int, epochs: int, threads: int) -> list[tuple[float, float]]:
    """(seconds, RMSE) at the end of each epoch of a `quick` fit to digits, 80 % missing, in this process.

    Args:
        epochs: at most 2: the textbook's flows have no refresh.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    method: Any = method_of(name, "quick", {"epochs": epochs})
    data = split(0.8, images)
    if side == "ours":
        return fit_curve(method, data).points
    curve = Curve(data)
    step, impute = rendering(method, data.train)
    batches = images // method.batch_size
    for number in range(epochs * batches):
        if number % batches == 0:
            order = torch.randperm(images)
        step(order[number % batches * method.batch_size :][: method.batch_size], number)
        if (number + 1) % batches == 0:
            with torch.no_grad():
                curve.add(impute(curve.begin()))
    return curve.points


def _ours(method: Any, train: MaskedImages, steps: int) -> tuple[float, Any]:
    """Seconds of the second of two epochs; every epoch ends with a report."""
    ends: dict[int, float] = {}

    def report(progress: Progress) -> None:
        if progress.step == steps * progress.epoch:
            ends[progress.epoch] = time.perf_counter()

    method.fit(train, FitContext(report=report))
    return ends[2] - ends[1], method.impute


def _textbook(method: Any, train: MaskedImages, steps: int) -> tuple[float, Any]:
    step, impute = rendering(method, train)

    def epoch() -> float:
        started = time.perf_counter()
        for number in range(steps):
            indices = torch.randperm(len(train))[: method.batch_size]
            step(indices, number)
        return time.perf_counter() - started

    epoch()

    def in_batches(images: MaskedImages) -> Tensor:
        return torch.cat([impute(batch) for batch in images.batches(512)])

    return epoch(), in_batches
