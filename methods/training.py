"""What the learned methods share: the training loop with its progress and checkpoints, and small helpers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bench.images import MaskedImages
from bench.imputer import FitContext, Interrupted, Progress

REPORT_SECONDS = 0.5
SAVE_SECONDS = 20.0


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


Parts = Mapping[str, Stateful | torch.Generator]


@dataclass
class _Position:
    """Where a training run stands; saved with every checkpoint."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    finished: bool = False
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    context: FitContext,
    parts: Parts,
    step: Callable[[Tensor, int], Mapping[str, Tensor]],
    *,
    count: int,
    batch_size: int,
    epochs: int,
    after_epoch: Callable[[int, Mapping[str, float]], bool | None] | None = None,
) -> None:
    """Call `step` on shuffled batches for some epochs, or go on from the newest checkpoint.

    A run that is killed and called again with the same arguments ends with the same parts, bit for
    bit, as one that was not: each epoch's order depends on the seed and the epoch alone, and what
    draws at random must be among the parts.

    Args:
        context: seed, checkpoints, deadline and where to report.
        parts: all that changes while training: modules, optimisers, generators, or anything with
            `state_dict` and `load_state_dict`.
        step: takes the batch's indices, (batch_size,) int64 on `context.device`, and the number of
            steps done before; returns the losses, scalars without gradient.
        count: how many images there are. Images left over from whole batches wait for a later epoch.
        after_epoch: called with the number of epochs done and their mean losses; True ends the training.

    Raises:
        Interrupted: a stop was requested; the checkpoint is written.
        FloatingPointError: a loss became infinite or NaN.
    """
    _count_parameters(context, parts)
    batch_size = min(batch_size, count)
    run = _Run(context, parts, count // batch_size, epochs)
    run.resume()
    position = run.position
    while position.epoch < epochs and not position.finished:
        order = torch.randperm(count, generator=context.generator(f"order-{position.epoch}", "cpu"))
        if not run.through_epoch(step, order.to(context.device), batch_size):
            context.facts["stopped"] = f"deadline reached in epoch {position.epoch + 1} of {epochs}"
            break
        means = run.close_epoch()
        stop = after_epoch(position.epoch, means) if after_epoch else False
        position.finished = bool(stop) or position.epoch == epochs
        run.save(unless_recent=not position.finished)
    context.facts |= {"steps": position.step, "epochs": position.epoch, "history": position.history}


class _Run:
    """One call of `train`: where it stands, its losses so far in this epoch, and when it last spoke."""

    def __init__(self, context: FitContext, parts: Parts, batches: int, epochs: int) -> None:
        self.context = context
        self.parts = parts
        self.batches = batches
        self.epochs = epochs
        self.position = _Position()
        self.sums: dict[str, Tensor] = {}
        self.saved = self.reported = time.monotonic()

    def through_epoch(
        self, step: Callable[[Tensor, int], Mapping[str, Tensor]], order: Tensor, batch_size: int
    ) -> bool:
        """Do the rest of an epoch; False where the deadline ended it early."""
        position, context = self.position, self.context
        self.sums = {
            name: torch.tensor(value, dtype=torch.float64, device=order.device)
            for name, value in position.sums.items()
        }
        while position.batch < self.batches:
            losses = step(order[position.batch * batch_size :][:batch_size], position.step)
            for name, loss in losses.items():
                self.sums[name] = self.sums.get(name, 0) + loss.double()
            position.batch += 1
            position.step += 1
            if time.monotonic() - self.reported > REPORT_SECONDS:
                self.report({name: float(loss) for name, loss in losses.items()})
            if context.stop_requested() or context.out_of_time:
                position.sums = {name: float(value) for name, value in self.sums.items()}
                self.save()
                if context.stop_requested():
                    raise Interrupted(f"stopped at step {position.step}")
                return False
        return True

    def close_epoch(self) -> dict[str, float]:
        """Take stock of a whole epoch; its mean losses."""
        position = self.position
        means = {name: float(value) / self.batches for name, value in self.sums.items()}
        bad = [name for name, mean in means.items() if not math.isfinite(mean)]
        if bad:
            raise FloatingPointError(
                f"{bad[0]} is not finite in epoch {position.epoch + 1}: training diverged"
            )
        self.report(means)
        position.history.append(means)
        position.epoch += 1
        position.batch = 0
        position.sums = {}
        return means

    def report(self, losses: Mapping[str, float]) -> None:
        self.reported = time.monotonic()
        position = self.position
        steps = self.batches * self.epochs
        self.context.report(Progress(position.epoch + 1, self.epochs, position.step, steps, losses))

    def save(self, unless_recent: bool = False) -> None:
        if unless_recent and time.monotonic() - self.saved <= SAVE_SECONDS:
            return
        states = {
            name: part.get_state() if isinstance(part, torch.Generator) else part.state_dict()
            for name, part in self.parts.items()
        }
        self.context.checkpoints.save({"position": asdict(self.position), "parts": states})
        self.saved = time.monotonic()

    def resume(self) -> None:
        saved = self.context.checkpoints.load()
        if saved is None:
            return
        for name, part in self.parts.items():
            state = saved["parts"][name]
            if isinstance(part, torch.Generator):
                part.set_state(state)
            else:
                part.load_state_dict(state)
        self.position = _Position(**saved["position"])


def _count_parameters(context: FitContext, parts: Parts) -> None:
    modules = [part for part in parts.values() if isinstance(part, nn.Module)]
    context.facts["parameters"] = sum(weight.numel() for module in modules for weight in module.parameters())


class StopWhenFlat:
    """Says when a loss has stopped falling.

    Args:
        patience: how many epochs without improvement are enough.
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


def adam(
    parameters: Iterable[nn.Parameter], learning_rate: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Adam in its fused form, one kernel for all parameters."""
    return torch.optim.Adam(parameters, lr=learning_rate, betas=betas, fused=True)


def set_gradients(parameters: Iterable[nn.Parameter], gradients: Iterable[Tensor]) -> None:
    """Hand gradients to an optimiser, each laid out in memory as its parameter is.

    Fused Adam reads a gradient's memory in the parameter's order, whatever the gradient's strides say: one
    that is laid out otherwise, as a second derivative may be, would be scrambled without a word.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        alike = gradient.stride() == parameter.stride()
        parameter.grad = gradient if alike else torch.empty_like(parameter).copy_(gradient)


@torch.no_grad()
def impute_in_batches(
    images: MaskedImages, size: int, device: torch.device, fill: Callable[[MaskedImages], Tensor]
) -> Tensor:
    """Fill in images `size` at a time on `device`.

    Args:
        fill: takes (n, C, H, W) images on the device and returns their imputation, in [0, 1].

    Returns:
        (N, C, H, W), float32, on the CPU, observed pixels put back.
    """
    imputed = torch.empty(images.pixels.shape)
    for start, batch in zip(range(0, len(images), size), images.batches(size), strict=True):
        batch = batch.to(device)
        imputed[start : start + size] = batch.paste(fill(batch).view(batch.pixels.shape))
    return imputed


def products_in(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Run matrix products and convolutions in "float32" or "bfloat16"; everything kept stays float32."""
    # A weight that autocast keeps in bfloat16 stays as it was when its optimiser moves it within the block.
    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False
    )


@contextmanager
def seeded(context: FitContext, name: str) -> Iterator[None]:
    """Initial weights drawn inside depend on the context's seed and on `name` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.generator(name, "cpu").initial_seed())
        yield
