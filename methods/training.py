"""The training loop of the learned methods, as an iterator with checkpoints, progress and deadline inside.

    training = Training(context, parts, len(images), batch_size=64, epochs=10)
    for indices in training:
        loss = ...                                  # one step on images[indices]
        training.record({"loss": loss.detach()})

A method that does something between epochs asks for the epochs (see `Training.epochs`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bench.imputer import FitContext, Interrupted, Progress

REPORT_SECONDS = 0.5
SAVE_SECONDS = 20.0


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


Parts = Mapping[str, Stateful | torch.Generator]


class _OutOfTime(Exception):
    """Ends the loops of `Training.epochs`, and is caught there."""


@dataclass
class _Position:
    """Where a training run stands; saved with every checkpoint."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    finished: bool = False
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


class Training:
    """Shuffled batches for some epochs. A run that was stopped goes on from its newest checkpoint.

    A run that is killed and started again with the same arguments ends with the same parts, bit for bit, as
    one that was not: each epoch's order depends on the seed and the epoch alone, and everything that draws at
    random must be among the parts.

    Iterating gives each batch's indices, (batch_size,) int64 on `context.device`, and raises

        Interrupted: a stop was requested; the checkpoint is written.
        FloatingPointError: a recorded loss became infinite or NaN.

    Args:
        context: seed, checkpoints, deadline and where to report.
        parts: all that changes while training: modules, optimisers, generators, or anything with
            `state_dict` and `load_state_dict`.
        count: how many images there are. Images left over from whole batches wait for a later epoch.
        batch_size: images in a batch; if there are fewer images, all of them.
        epochs: how many there are at most.
    """

    def __init__(self, context: FitContext, parts: Parts, count: int, batch_size: int, epochs: int) -> None:
        self.context = context
        self.parts = parts
        self.count = count
        self.batch_size = min(batch_size, count)
        self.batches = count // self.batch_size
        self.last_epoch = epochs
        modules = [part for part in parts.values() if isinstance(part, nn.Module)]
        context.facts["parameters"] = sum(
            weight.numel() for module in modules for weight in module.parameters()
        )
        self._position = _Position()
        self._sums: dict[str, Tensor] = {}
        self._losses: Mapping[str, Tensor] = {}
        self._saved = self._reported = time.monotonic()

    @property
    def step(self) -> int:
        """How many steps are done."""
        return self._position.step

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self._position.epoch

    @property
    def progress(self) -> float:
        """The fraction of all steps that are done, in [0, 1]."""
        return self._position.step / (self.batches * self.last_epoch)

    def record(self, losses: Mapping[str, Tensor]) -> None:
        """Take in a step's losses: scalars without gradient."""
        self._losses = losses
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, 0) + loss.double()

    def finish(self) -> None:
        """Make the epoch that has just ended the last one."""
        self._position.finished = True

    def __iter__(self) -> Iterator[Tensor]:
        with self.epochs() as epochs:
            for epoch in epochs:
                yield from epoch

    @contextmanager
    def epochs(self) -> Iterator[Iterator[Epoch]]:
        """The epochs one by one, for a method that does something after each.

            with training.epochs() as epochs:
                for epoch in epochs:
                    for indices in epoch:
                        ...
                    ...  # after a whole epoch; epoch.losses holds its mean losses

        A deadline that passes within an epoch leaves the `with` block at once.
        """
        self._resume()
        position = self._position
        try:
            yield self._each_epoch()
        except _OutOfTime:
            self.context.facts["stopped"] = (
                f"deadline reached in epoch {position.epoch + 1} of {self.last_epoch}"
            )
        self.context.facts |= {
            "steps": position.step,
            "epochs": position.epoch,
            "history": position.history,
        }

    def _each_epoch(self) -> Iterator[Epoch]:
        position = self._position
        while position.epoch < self.last_epoch and not position.finished:
            yield Epoch(self)
            position.finished |= position.epoch == self.last_epoch
            if position.finished or time.monotonic() - self._saved > SAVE_SECONDS:
                self._save()

    def _batches_left(self) -> Iterator[Tensor]:
        """The batches of the epoch in progress that are not done yet."""
        position, context = self._position, self.context
        order = torch.randperm(self.count, generator=context.generator(f"order-{position.epoch}", "cpu"))
        order = order.to(context.device)
        self._sums = {
            name: torch.tensor(value, dtype=torch.float64, device=context.device)
            for name, value in position.sums.items()
        }
        while position.batch < self.batches:
            self._losses = {}
            yield order[position.batch * self.batch_size :][: self.batch_size]
            position.batch += 1
            position.step += 1
            if time.monotonic() - self._reported > REPORT_SECONDS:
                self._report({name: float(loss) for name, loss in self._losses.items()})
            if context.stop_requested() or context.out_of_time:
                position.sums = {name: float(value) for name, value in self._sums.items()}
                self._save()
                if context.stop_requested():
                    raise Interrupted(f"stopped at step {position.step}")
                raise _OutOfTime

    def _close_epoch(self) -> dict[str, float]:
        """Take stock of a whole epoch; its mean losses."""
        position = self._position
        means = {name: float(value) / self.batches for name, value in self._sums.items()}
        bad = [name for name, mean in means.items() if not math.isfinite(mean)]
        if bad:
            raise FloatingPointError(
                f"{bad[0]} is not finite in epoch {position.epoch + 1}: training diverged"
            )
        self._report(means)
        position.history.append(means)
        position.epoch += 1
        position.batch = 0
        position.sums = {}
        return means

    def _report(self, losses: Mapping[str, float]) -> None:
        self._reported = time.monotonic()
        position = self._position
        steps = self.batches * self.last_epoch
        self.context.report(Progress(position.epoch + 1, self.last_epoch, position.step, steps, losses))

    def _save(self) -> None:
        states = {
            name: part.get_state() if isinstance(part, torch.Generator) else part.state_dict()
            for name, part in self.parts.items()
        }
        self.context.checkpoints.save({"position": asdict(self._position), "parts": states})
        self._saved = time.monotonic()

    def _resume(self) -> None:
        saved = self.context.checkpoints.load()
        if saved is None:
            return
        for name, part in self.parts.items():
            state = saved["parts"][name]
            if isinstance(part, torch.Generator):
                part.set_state(state)
            else:
                part.load_state_dict(state)
        self._position = _Position(**saved["position"])


class Epoch:
    """One pass over the images: the indices of its batches; after the last one, its mean `losses`."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self.losses: dict[str, float] = {}

    def __iter__(self) -> Iterator[Tensor]:
        yield from self._training._batches_left()
        self.losses = self._training._close_epoch()


class StopWhenFlat:
    """Says when a loss has stopped falling.

    Args:
        patience: how many epochs without improvement are enough, at least 1.
        tolerance: the fraction by which the best of those epochs would have to beat the best before them.
    """

    def __init__(self, patience: int, tolerance: float) -> None:
        self.patience = patience
        self.tolerance = tolerance
        self.losses: list[float] = []

    def __call__(self, loss: float) -> bool:
        """Take in an epoch's loss; True when the last `patience` epochs brought no improvement."""
        self.losses.append(loss)
        if len(self.losses) <= self.patience:
            return False
        before, lately = self.losses[: -self.patience], self.losses[-self.patience :]
        return min(lately) > (1 - self.tolerance) * min(before)

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses = list(state["losses"])
