"""RMSE against fitting time, on training images that the fit does not see: test images play no part."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer, Interrupted, Progress
from bench.methods.mcflow import MCFlow
from bench.metrics.rmse import rmse, squared_errors
from bench.plugins.registry import describe, find_methods
from bench.problem.posing import Pixels, Problem, open_incomplete, pose

HELD_OUT = 1000


@dataclass(frozen=True)
class Split:
    """Training images of a posed problem: `train` to fit on, `held_out` to score, with their `truth`."""

    train: MaskedImages
    held_out: MaskedImages
    truth: Pixels


def split(rate: float, images: int | None, dataset: str = "mnist", data_dir: Path | None = None) -> Split:
    """Pose a problem of training images alone, and hold 1,000 of them out.

    Args:
        images: how many are fitted; None for all others.
    """
    count = images + HELD_OUT if images else None
    posed = pose(Problem(dataset, rate=rate, train=count, test=1), data_dir)
    pixels, observed = open_incomplete(posed.incomplete, "train")
    whole = MaskedImages(torch.from_numpy(np.array(pixels)), torch.from_numpy(observed))
    fitted = len(whole) - HELD_OUT
    return Split(whole[:fitted], whole[slice(fitted, None)], posed.train_truth[fitted:])


def method_of(name: str, preset: str, overrides: Mapping[str, Any], dataset: str = "mnist") -> Imputer:
    """A method with a preset's settings for a data set, and others on top."""
    settings = describe(find_methods()[name]).resolve(preset, dataset, overrides)
    (point,) = entry_points(group="bench.methods", name=name)
    method: Imputer = point.load()(**settings)
    return method


class Curve:
    """Collects (seconds of fitting, RMSE of the held-out images). The time of scoring does not count."""

    def __init__(self, data: Split, seconds: float = math.inf, every: float = 0.0) -> None:
        self.data = data
        self.limit = seconds
        self.every = every
        self.points: list[tuple[float, float]] = []
        self.started = time.perf_counter()
        self.scoring = 0.0

    @property
    def seconds(self) -> float:
        """Fitting time so far."""
        return time.perf_counter() - self.started - self.scoring

    @property
    def over(self) -> bool:
        """Whether the fit has had its time."""
        return self.seconds > self.limit

    def due(self) -> bool:
        """Whether `every` seconds of fitting have passed since the last point."""
        return self.seconds - (self.points[-1][0] if self.points else 0.0) >= self.every

    def add(self, imputed: Tensor) -> None:
        """A point from an imputation of the held-out images that began with `begin`."""
        recovered = self.data.held_out.paste(imputed.cpu().float().clamp(0, 1))
        error = rmse(*squared_errors(self.data.truth, recovered.numpy(), self.data.held_out.observed.numpy()))
        self.points.append((self.began - self.started - self.scoring, error))
        self.scoring += time.perf_counter() - self.began

    def begin(self) -> MaskedImages:
        """The images to impute for the next point; the clock of the fit stands still until `add`."""
        self.began = time.perf_counter()
        return self.data.held_out


def fit_curve(
    method: Imputer,
    data: Split,
    context: FitContext,
    *,
    seconds: float = math.inf,
    every: float = 0.0,
) -> Curve:
    """Fit a method, scoring at ends of epochs.

    Args:
        context: its device and precision.
        seconds: of fitting, after which it is stopped.
        every: seconds of fitting between two points, at least; the last epoch's is always one.
    """
    curve = Curve(data, seconds, every)
    scored = 0

    def report(progress: Progress) -> None:
        nonlocal scored
        epoch_ends = progress.step * progress.epochs == progress.epoch * progress.steps
        wanted = curve.due() or curve.over or progress.step == progress.steps
        if epoch_ends and wanted and progress.step > scored:
            scored = progress.step
            curve.add(impute_now(method, curve.begin()))

    with suppress(Interrupted):
        method.fit(data.train, replace(context, report=report, stop_requested=lambda: curve.over))
    return curve


def impute_now(method: Imputer, images: MaskedImages) -> Tensor:
    """What a method would impute if its fit ended here."""
    if not isinstance(method, MCFlow):
        return method.impute(images)
    # A flow's fit ends by keeping its last models as one more stage.
    stages = method._stages.models
    stages.append((method.G, method.H))
    try:
        return method.impute(images)
    finally:
        stages.pop()
