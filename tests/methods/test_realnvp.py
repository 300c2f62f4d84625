"""The sliced flow against a masked full-width one, and against autograd."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.methods.nn.realnvp import CouplingPair, RealNVP, ScaleAndTranslate, log_normal
from tests.methods.textbook import MaskedCoupling, TextbookFlow


def small_flow(dimension: int, hidden: int = 7, seed: int = 0) -> RealNVP:
    torch.manual_seed(seed)
    return RealNVP(dimension, hidden).double()


def orders(flow: RealNVP) -> list[Tensor]:
    """For each pair, which value of the image stands at each of its places."""
    order = flow.steps[0]
    found = [order]
    for step in flow.steps[1:-1]:
        order = order[step]
        found.append(order)
    return found


def widen(nets: ScaleAndTranslate, coupling: MaskedCoupling, kept: Tensor, changed: Tensor) -> None:
    """Copy sliced weights into the full-width nets; the rest, which must not matter, stays random."""
    for which, net in enumerate((coupling.scale, coupling.translate)):
        linears = [layer for layer in net if isinstance(layer, nn.Linear)]
        for number, linear in enumerate(linears):
            rows = changed if number == 3 else torch.arange(linear.out_features)
            columns = kept if number == 0 else torch.arange(linear.in_features)
            with torch.no_grad():
                linear.weight[rows[:, None], columns] = nets.weights[number][which].T
                linear.bias[rows] = nets.biases[number][which, 0]


def textbook_of(flow: RealNVP, dimension: int, hidden: int) -> TextbookFlow:
    couplings = []
    for order, pair in zip(orders(flow), flow.pairs, strict=True):
        assert isinstance(pair, CouplingPair)
        first, second = order[: pair.first], order[pair.first :]
        for nets, kept, changed in ((pair.keep_first, first, second), (pair.keep_second, second, first)):
            mask = torch.zeros(dimension, dtype=torch.float64)
            mask[kept] = 1
            coupling = MaskedCoupling(mask, hidden).double()
            widen(nets, coupling, kept, changed)
            couplings.append(coupling)
    return TextbookFlow(couplings)


@given(dimension=st.integers(2, 12), seed=st.integers(0, 5))
@settings(max_examples=15)
def test_sliced_flow_is_the_masked_flow(dimension: int, seed: int) -> None:
    flow = small_flow(dimension, seed=seed)
    textbook = textbook_of(flow, dimension, hidden=7)
    x = torch.randn(5, dimension, dtype=torch.float64)
    z, log_det = flow(x)
    z_textbook, log_det_textbook = textbook(x)
    torch.testing.assert_close(z, z_textbook, rtol=0, atol=1e-10)
    torch.testing.assert_close(log_det, log_det_textbook, rtol=0, atol=1e-10)


@given(dimension=st.integers(2, 9), seed=st.integers(0, 5))
@settings(max_examples=10)
def test_log_det_is_that_of_the_jacobian(dimension: int, seed: int) -> None:
    flow = small_flow(dimension, seed=seed)
    x = torch.randn(dimension, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda v: flow(v[None])[0][0])(x)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(flow(x[None])[1][0], expected, rtol=0, atol=1e-9)


@given(dimension=st.integers(2, 40), seed=st.integers(0, 5))
@settings(max_examples=15)
def test_inverse_inverts_and_meets_the_same_scales(dimension: int, seed: int) -> None:
    flow = small_flow(dimension, seed=seed)
    x = torch.randn(4, dimension, dtype=torch.float64)
    z, log_det = flow(x)
    back, log_det_down = flow.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(log_det_down, log_det, rtol=0, atol=1e-9)


def test_every_value_changes_and_halves_differ_between_pairs() -> None:
    flow = small_flow(30)
    firsts = [set(order[:15].tolist()) for order in orders(flow)]
    assert len({frozenset(first) for first in firsts}) == 3
    x = torch.randn(1, 30, dtype=torch.float64)
    assert (flow(x)[0] != x).all()


def test_density_integrates_to_one() -> None:
    flow = small_flow(2)
    axis = torch.linspace(-12, 12, 481, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    z, log_det = flow(grid)
    mass = (log_normal(z) + log_det).exp().detach().sum() * (axis[1] - axis[0]) ** 2
    assert float(mass) == pytest.approx(1, abs=1e-4)
