"""The training loop that the learned methods share: epochs, progress, checkpoints, stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
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
    parts: Mapping[str, Stateful | torch.Generator],
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
    batch_size = min(batch_size, count)
    batches = count // batch_size
    position = _resume(context, parts)
    context.facts["parameters"] = sum(
        parameter.numel()
        for part in parts.values()
        if isinstance(part, nn.Module)
        for parameter in part.parameters()
    )
    saved = reported = time.monotonic()
    while position.epoch < epochs and not position.finished:
        order = torch.randperm(count, generator=context.generator(f"order-{position.epoch}", "cpu"))
        order = order.to(context.device)
        sums = {name: torch.tensor(value, device=context.device) for name, value in position.sums.items()}
        while position.batch < batches:
            start = position.batch * batch_size
            losses = step(order[start : start + batch_size], position.step)
            for name, loss in losses.items():
                sums[name] = sums[name] + loss if name in sums else loss.clone()
            position.batch += 1
            position.step += 1
            now = time.monotonic()
            if now - reported > REPORT_SECONDS:
                reported = now
                context.report(_progress(position, batches, epochs, losses))
            if context.stop_requested() or context.out_of_time:
                position.sums = {name: float(value) for name, value in sums.items()}
                _save(context, parts, position)
                if context.stop_requested():
                    raise Interrupted(f"stopped at step {position.step}")
                context.facts["stopped"] = f"deadline reached in epoch {position.epoch + 1} of {epochs}"
                break
        else:
            means = {name: float(value) / batches for name, value in sums.items()}
            _close_epoch(context, position, means, batches, epochs)
            position.finished = bool(after_epoch and after_epoch(position.epoch, means))
            if time.monotonic() - saved > SAVE_SECONDS:
                _save(context, parts, position)
                saved = time.monotonic()
            continue
        break
    else:
        position.finished = True
        _save(context, parts, position)
    context.facts |= {"steps": position.step, "epochs": position.epoch, "history": position.history}


def _close_epoch(
    context: FitContext, position: _Position, means: dict[str, float], batches: int, epochs: int
) -> None:
    bad = [name for name, mean in means.items() if not math.isfinite(mean)]
    if bad:
        raise FloatingPointError(f"{bad[0]} is not finite in epoch {position.epoch + 1}: training diverged")
    context.report(Progress(position.epoch + 1, epochs, position.step, batches * epochs, means))
    position.history.append(means)
    position.epoch += 1
    position.batch = 0
    position.sums = {}


def _progress(position: _Position, batches: int, epochs: int, losses: Mapping[str, Tensor]) -> Progress:
    current = {name: float(loss) for name, loss in losses.items()}
    return Progress(position.epoch + 1, epochs, position.step, batches * epochs, current)


def _save(context: FitContext, parts: Mapping[str, Stateful | torch.Generator], position: _Position) -> None:
    states = {
        name: part.get_state() if isinstance(part, torch.Generator) else part.state_dict()
        for name, part in parts.items()
    }
    context.checkpoints.save({"position": asdict(position), "parts": states})


def _resume(context: FitContext, parts: Mapping[str, Stateful | torch.Generator]) -> _Position:
    saved = context.checkpoints.load()
    if saved is None:
        return _Position()
    for name, part in parts.items():
        state = saved["parts"][name]
        if isinstance(part, torch.Generator):
            part.set_state(state)
        else:
            part.load_state_dict(state)
    return _Position(**saved["position"])


def adam(
    parameters: Iterable[nn.Parameter], learning_rate: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Adam in its fused form, one kernel for all parameters."""
    return torch.optim.Adam(parameters, lr=learning_rate, betas=betas, fused=True)


def products_in(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Run matrix products and convolutions in "float32" or "bfloat16"; everything kept stays float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


@contextmanager
def seeded(context: FitContext, name: str) -> Iterator[None]:
    """Initial weights drawn inside depend on the context's seed and on `name` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.generator(name, "cpu").initial_seed())
        yield
