"""MADE and the autoregressive flow: what may depend on what, by autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.methods.nn.made import MADE, InverseAutoregressiveFlow
from bench.methods.optimisation import adam

DIMENSION, HIDDEN, CONTEXT = 7, 24, 3


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(DIMENSION, generator=generator, dtype=torch.float64),
        torch.randn(1, CONTEXT, generator=generator, dtype=torch.float64),
    )


def trained(module: torch.nn.Module, steps: int = 5) -> None:
    """A few Adam steps on any loss: cut connections must stay cut."""
    optimiser = adam(module.parameters(), 1e-2)
    z, context = inputs()
    for _ in range(steps):
        optimiser.zero_grad()
        result = module(z.expand(4, -1), context.expand(4, -1))
        loss = (
            sum(part.square().sum() for part in result)
            if isinstance(result, tuple)
            else result.square().sum()
        )
        assert isinstance(loss, Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def made() -> MADE:
    torch.manual_seed(0)
    return MADE(DIMENSION, HIDDEN, CONTEXT).double()


def jacobian(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Row i: how output i changes with each entry of z."""
    z = z.clone().requires_grad_()
    outputs = function(z)
    rows = [torch.autograd.grad(output, z, retain_graph=True)[0] for output in outputs]
    return torch.stack(rows)


def test_each_output_sees_the_inputs_before_it_and_no_other() -> None:
    network = made()
    z, context = inputs()
    for _ in range(2):
        slopes = jacobian(lambda z: torch.cat(network(z[None], context))[0], z)
        assert torch.equal(slopes.triu(), torch.zeros_like(slopes))
        slopes = jacobian(lambda z: torch.cat(network(z[None], context))[1], z)
        assert torch.equal(slopes.triu(), torch.zeros_like(slopes))
        trained(network)


def test_no_allowed_connection_is_lost() -> None:
    network = made()
    paths = network.second.connected.double() @ network.first.connected.double()
    paths = network.last.connected.double() @ paths
    allowed = torch.ones(DIMENSION, DIMENSION).tril(-1).bool()
    assert torch.equal(paths > 0, allowed.repeat(2, 1))


def test_every_output_sees_the_context() -> None:
    network = made()
    z, context = inputs()
    slopes = jacobian(lambda context: network(z[None], context)[0][0], context)
    # The first output has no input before it, and hidden units of degree 0 do not exist: it is a constant.
    assert torch.equal(slopes[0], torch.zeros_like(slopes[0]))
    assert (slopes[1:].abs().sum((1, 2)) > 0).all()


def test_cut_weights_stay_zero_under_adam() -> None:
    network = made()
    before = network.second.weight.detach().clone()
    trained(network)
    for layer in (network.first, network.second, network.last):
        assert not layer.weight[~layer.connected].any()
        assert layer.connected.any()
    assert not torch.equal(network.second.weight, before)


def test_gradients_asked_for_by_name_are_cut_too() -> None:
    network = made()
    z, context = inputs()
    loss = network(z[None], context)[0].square().sum()
    (gradient,) = torch.autograd.grad(loss, [network.second.weight])
    assert not gradient[~network.second.connected].any() and gradient.any()


def test_the_flow_is_triangular_and_can_be_undone() -> None:
    torch.manual_seed(0)
    flow = InverseAutoregressiveFlow(DIMENSION, HIDDEN, CONTEXT).double()
    trained(flow)
    z, context = inputs()
    slopes = jacobian(lambda z: flow(z[None], context)[0], z)
    shift, gate = (part[0] for part in flow.made(z[None], context))
    scale = torch.sigmoid(gate + flow.bias)
    assert torch.equal(slopes.triu(1), torch.zeros_like(slopes))
    assert torch.allclose(slopes.diagonal(), scale)
    bent = flow(z[None], context)[0]
    assert torch.allclose(bent, scale * z + (1 - scale) * shift)
    # Undo it one value at a time, each needing only those before it.
    recovered = torch.zeros_like(z)
    for position in range(DIMENSION):
        shift, gate = (part[0] for part in flow.made(recovered[None], context))
        scale = torch.sigmoid(gate + flow.bias)
        recovered[position] = ((bent - (1 - scale) * shift) / scale)[position]
    assert torch.allclose(recovered, z)


def test_a_new_flow_keeps_most_of_its_input() -> None:
    torch.manual_seed(0)
    flow = InverseAutoregressiveFlow(DIMENSION, HIDDEN, CONTEXT).double()
    z, context = inputs()
    _, gate = flow.made(z[None], context)
    assert torch.allclose(torch.sigmoid(gate + flow.bias), torch.tensor(0.88).double(), atol=0.06)
