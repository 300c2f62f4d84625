"""Wasserstein critics with a gradient penalty: the adversarial game of MisGAN and PBiGAN.

Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017, Eq. 3. A critic C scores real
inputs high and generated ones low; the difference of its means estimates the distance between the two
distributions, as long as C's gradient has length 1 between them, which the penalty asks for. An input is
a tuple of tensors that share their first axis: (image,), or (image, code) for a joint critic.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.methods.nn.double_backward import inputs_only
from bench.methods.optimisation import descend

Inputs = tuple[Tensor, ...]
Critic = Callable[..., Tensor]


def distance(critic: Critic, real: Inputs, fake: Inputs) -> Tensor:
    """Mean score of the real inputs less that of the fake ones: what the critic raises.

    Args:
        critic: takes the input's tensors, each (N, ...), and returns scores (N,). It must score each
            input by itself (no batch statistics): both kinds go through it in one batch.

    Returns:
        A scalar, float32.
    """
    scores = critic(*(torch.cat(pair) for pair in zip(real, fake, strict=True))).float()
    return scores[: len(real[0])].mean() - scores[len(real[0]) :].mean()


def gradient_penalty(critic: Critic, real: Inputs, fake: Inputs, generator: torch.Generator) -> Tensor:
    """Mean over the batch of (|gradient of C| - 1)^2 at random points between real and fake.

    Args:
        critic: as in `distance`.
        real, fake: without gradient, of equal shapes. A pair's tensors share one random coefficient, and
            the gradient's length is over all of them together.
        generator: draws the coefficients, on the inputs' device.

    Returns:
        A scalar, float32, differentiable in the critic's weights.
    """
    first = real[0]
    coefficients = torch.rand(len(first), generator=generator, device=first.device, dtype=first.dtype)
    between = tuple(
        torch.lerp(b, a, coefficients.view(-1, *[1] * (a.dim() - 1))).requires_grad_()
        for a, b in zip(real, fake, strict=True)
    )
    with inputs_only():
        gradients = torch.autograd.grad(critic(*between).float().sum(), between, create_graph=True)
    joint = torch.cat([gradient.flatten(1) for gradient in gradients], 1)
    lengths: Tensor = torch.linalg.vector_norm(joint, dim=1)
    return (lengths - 1).square().mean()


def raise_distance(
    critic: Critic,
    optimiser: torch.optim.Optimizer,
    real: Inputs,
    fake: Inputs,
    penalty: float | None,
    generator: torch.Generator,
) -> Tensor:
    """One critic update: descend -distance + penalty * gradient penalty.

    Args:
        penalty: its weight; None leaves it out.

    Returns:
        The distance before the update, a scalar without gradient.
    """
    apart = distance(critic, real, fake)
    if penalty is None:
        descend(optimiser, -apart)
    else:
        descend(optimiser, penalty * gradient_penalty(critic, real, fake, generator) - apart)
    return apart.detach()


def penalty_of_step(step: int, weight: float, every: int) -> float | None:
    """The weight of the penalty in a critic step, counted from 0: `every` times as much in each `every`-th.

    Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020, call it lazy
    regularisation.
    """
    return weight * every if step % every == 0 else None
