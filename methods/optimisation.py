"""How networks are made and moved: seeded weights, the dtype of products, Adam, a step down a loss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from bench.imputer import FitContext


@contextmanager
def seeded(context: FitContext, name: str) -> Iterator[None]:
    """Initial weights drawn inside depend on the context's seed and on `name` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.generator(name, "cpu").initial_seed())
        yield


def products_in(context: FitContext, *, weights_move: bool = True) -> AbstractContextManager[None]:
    """Matrix products and convolutions inside are in the context's precision; all that is kept is float32.

    Args:
        weights_move: whether an optimiser may step inside. If none does, a weight is rounded to bfloat16
            once, however often it is used, and the gradients of its uses are added before they become
            float32. A rounded weight that is kept while its optimiser steps would be the old one.
    """
    enabled = context.precision == "bfloat16"
    device = context.device.type
    return torch.autocast(device, dtype=torch.bfloat16, enabled=enabled, cache_enabled=not weights_move)


@contextmanager
def fixed(*networks: nn.Module) -> Iterator[None]:
    """Inside, losses pass through the networks, and no gradient of their weights is computed."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Inside, networks normalise by what they remember of training, not by the batch."""
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network in networks:
            network.train()


def adam(
    parameters: Iterable[nn.Parameter], learning_rate: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Adam in its fused form, one kernel for all parameters."""
    return torch.optim.Adam(parameters, lr=learning_rate, betas=betas, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Change the learning rate of all parameters."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            # A recorded step reads the rate where it lies.
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate


def half_cosine(progress: float) -> float:
    """A factor of the learning rate: 1 at the beginning, 0 at the end (Loshchilov and Hutter, 2017).

    Args:
        progress: the fraction of the steps that are done, in [0, 1].
    """
    return (1 + math.cos(math.pi * progress)) / 2


def set_gradients(parameters: Iterable[nn.Parameter], gradients: Iterable[Tensor]) -> None:
    """Hand gradients to an optimiser, each laid out in memory as its parameter is.

    Fused Adam reads a gradient's memory in the parameter's order and ignores the gradient's strides. A second
    derivative may be laid out in another order; its numbers would then reach the wrong weights.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        alike = gradient.stride() == parameter.stride()
        parameter.grad = gradient if alike else torch.empty_like(parameter).copy_(gradient)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of the optimiser's own parameters down the loss; no other weight's `grad` is touched."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    set_gradients(parameters, torch.autograd.grad(loss, parameters))
    optimiser.step()
