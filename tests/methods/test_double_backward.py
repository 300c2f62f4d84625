"""Convolutions and ramps with cheap second derivatives, against PyTorch's own and against differences."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from bench.methods.nn import double_backward, wgan
from bench.methods.nn.critics import ImageCritic
from tests.methods.textbook import in_pytorch_s_layers


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 2),
    st.booleans(),
)
@settings(max_examples=12)
def test_first_and_second_derivatives_against_differences(
    channels: int, out: int, kernel: int, stride: int, padding: int, bias: bool
) -> None:
    layer = double_backward.Conv2d(channels, out, kernel, stride=stride, padding=padding, bias=bias).double()

    def network(x: Tensor, weight: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(layer, {"weight": weight}, (x,))
        return out.tanh()

    inputs = (drawn(2, channels, 5, 6).requires_grad_(), layer.weight.detach().clone().requires_grad_())
    assert torch.autograd.gradcheck(network, inputs)
    assert torch.autograd.gradgradcheck(network, inputs)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_a_ramp_against_pytorch_s(slope: float) -> None:
    x = drawn(50).requires_grad_()
    ours = double_backward.LeakyReLU(slope)(x)
    theirs = nn.functional.leaky_relu(x, slope)
    assert torch.equal(ours, theirs)
    assert torch.equal(*(torch.autograd.grad(y.sum(), x)[0] for y in (ours, theirs)))
    assert torch.autograd.gradgradcheck(lambda x: double_backward.LeakyReLU(slope)(x).square(), (x,))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_a_critic_s_update_is_that_of_pytorch_s_own_layers(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    critic = ImageCritic(shape, 4).double()
    updated = []
    for each in (critic, in_pytorch_s_layers(copy.deepcopy(critic))):
        optimiser = torch.optim.SGD(each.parameters(), lr=1.0)
        real, fake = ((drawn(3, *shape, seed=seed),) for seed in (1, 2))
        generator = torch.Generator().manual_seed(3)
        wgan.raise_distance(each, optimiser, real, fake, penalty=10.0, generator=generator)
        updated.append(torch.cat([weight.detach().flatten() for weight in each.parameters()]))
    ours, theirs = updated
    assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_asked_for_inputs_only_no_weight_gradient_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*given: Any) -> Any:
        calls.append(1)
        return conv2d_weight(*given)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(double_backward, "conv2d_weight", counted)
    layer, x = double_backward.Conv2d(1, 2, 3), torch.rand(1, 1, 5, 5, requires_grad=True)
    with double_backward.inputs_only():
        (slope,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    assert calls == []
    torch.autograd.grad(slope.square().sum(), layer.weight)
    assert calls == [1]
