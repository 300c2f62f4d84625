"""The Wasserstein game: distance, gradient penalty and updates against closed forms."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from bench.methods.nn.double_backward import Conv2d
from bench.methods.nn.wgan import distance, gradient_penalty, penalty_of_step, raise_distance
from bench.methods.optimisation import adam, descend, fixed


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fresh() -> torch.Generator:
    return torch.Generator().manual_seed(7)


class TanhCritic(nn.Module):
    """v . tanh(W x): smooth, with a gradient that a hand can write down."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Parameter(drawn(4, 6, seed=1))
        self.outer = nn.Parameter(drawn(4, seed=2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1) @ self.inner.T) @ self.outer


def test_a_gradient_laid_out_otherwise_is_the_same_gradient() -> None:
    """Fused Adam, given a transposed gradient, against the plain one."""
    weights = [nn.Parameter(drawn(2, 3)) for _ in range(2)]
    optimisers = [adam([weights[0]], 0.1), torch.optim.Adam([weights[1]], lr=0.1)]
    slope = drawn(3, 2, seed=1)
    for weight, optimiser in zip(weights, optimisers, strict=True):
        for _ in range(3):
            loss = (weight * slope.t()).sum()
            (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
            assert gradient.stride() != weight.stride()
            descend(optimiser, loss)
    assert torch.allclose(weights[0], weights[1], atol=1e-6)


def test_distance_is_the_difference_of_means_in_one_pass() -> None:
    sizes = []

    def critic(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return x[:, 0] * 10

    real, fake = torch.tensor([[1.0], [2.0], [6.0]]), torch.tensor([[0.0], [1.0], [-4.0]])
    assert float(distance(critic, (real,), (fake,))) == pytest.approx(40.0)
    assert sizes == [6]


def test_penalty_of_a_linear_joint_critic_and_its_second_derivative() -> None:
    # C(x, c) = a.x + b.c has gradient (a, b) everywhere, of length 13 here: penalty (13 - 1)^2, and
    # d/da (|(a, b)| - 1)^2 = 2 (13 - 1) a / 13.
    a, b = torch.tensor([3.0, 0.0, 4.0], requires_grad=True), torch.tensor([0.0, 12.0], requires_grad=True)
    real, fake = (drawn(5, 3), drawn(5, 2)), (drawn(5, 3, seed=3), drawn(5, 2, seed=4))
    penalty = gradient_penalty(lambda x, c: x @ a + c @ b, real, fake, fresh())
    assert float(penalty.detach()) == pytest.approx(144.0, rel=1e-5)
    for_a, for_b = torch.autograd.grad(penalty, (a, b))
    assert torch.allclose(for_a, 24 * a / 13, rtol=1e-5)
    assert torch.allclose(for_b, 24 * b / 13, rtol=1e-5)


def test_penalty_of_a_quadratic_critic_and_its_second_derivative() -> None:
    # C(x) = k |x|^2 / 2 has gradient k x: penalty mean (k |x| - 1)^2, d/dk = mean 2 (k |x| - 1) |x|.
    # Real and fake are the same points, so these are the points in between as well.
    k = torch.tensor(0.7, requires_grad=True)
    x = drawn(6, 1, 2, 3)
    lengths = x.flatten(1).square().sum(1).sqrt()
    penalty = gradient_penalty(lambda x: k * x.flatten(1).square().sum(1) / 2, (x,), (x,), fresh())
    assert float(penalty.detach()) == pytest.approx(float((0.7 * lengths - 1).square().mean()), rel=1e-5)
    (slope,) = torch.autograd.grad(penalty, k)
    assert float(slope) == pytest.approx(float((2 * (0.7 * lengths - 1) * lengths).mean()), rel=1e-5)


def test_penalty_s_weight_gradient_against_finite_differences() -> None:
    critic, x = TanhCritic(), drawn(5, 6)

    def by_hand(inner: Tensor) -> float:
        # Gradient of v . tanh(W x) in x, one image at a time: W^T (v * (1 - tanh(W x)^2)).
        total = 0.0
        for image in x.double():
            slope = critic.outer.detach().double() * (1 - torch.tanh(inner @ image) ** 2)
            total += (float((inner.T @ slope).norm()) - 1) ** 2
        return total / len(x)

    penalty = gradient_penalty(critic, (x,), (x,), fresh())
    inner = critic.inner.detach().double()
    assert float(penalty.detach()) == pytest.approx(by_hand(inner), rel=1e-6)
    (gradient,) = torch.autograd.grad(penalty, critic.inner)
    for row, column in [(0, 0), (1, 3), (3, 5)]:
        nudge = torch.zeros_like(inner)
        nudge[row, column] = 1e-5
        numeric = (by_hand(inner + nudge) - by_hand(inner - nudge)) / 2e-5
        assert float(gradient[row, column]) == pytest.approx(numeric, rel=1e-3, abs=1e-4)


def test_points_lie_between_and_a_pair_shares_its_coefficient() -> None:
    seen: list[Tensor] = []

    def critic(x: Tensor, c: Tensor) -> Tensor:
        seen.extend([x.detach(), c.detach()])
        return x.flatten(1).sum(1) + c.sum(1)

    # From fake 0 to real 1, a point is its coefficient.
    gradient_penalty(
        critic,
        (torch.ones(50, 1, 2, 2), torch.ones(50, 3)),
        (torch.zeros(50, 1, 2, 2), torch.zeros(50, 3)),
        fresh(),
    )
    x, c = seen
    assert torch.equal(x.flatten(1)[:, :1].expand(50, 3), c)
    assert torch.equal(x, x[:, :, :1, :1].expand_as(x))
    assert len(set(c[:, 0].tolist())) == 50 and c.min() < 0.2 and c.max() > 0.8


def test_descend_steps_its_own_parameters_alone() -> None:
    first, second = nn.Linear(2, 3), nn.Linear(3, 1)
    loss = second(first(drawn(4, 2))).square().mean()
    expected = torch.autograd.grad(loss, first.weight, retain_graph=True)[0]
    before = first.weight.detach().clone()
    descend(torch.optim.SGD(first.parameters(), lr=0.1), loss)
    assert torch.allclose(first.weight, before - 0.1 * expected)
    assert second.weight.grad is None


def test_a_critic_update_is_the_textbook_s() -> None:
    """Separate passes, a plain backward through everything, and the points written out."""
    critic = TanhCritic()
    textbook = copy.deepcopy(critic)
    real, fake = drawn(8, 6, seed=5), drawn(8, 6, seed=6)
    reached = raise_distance(
        critic,
        torch.optim.SGD(critic.parameters(), lr=0.01),
        (real,),
        (fake,),
        penalty=10,
        generator=fresh(),
    )

    coefficients = torch.rand(8, generator=fresh())[:, None]
    between = (coefficients * real + (1 - coefficients) * fake).requires_grad_()
    slopes = torch.autograd.grad(textbook(between), between, torch.ones(8), create_graph=True)[0]
    apart = textbook(real).mean() - textbook(fake).mean()
    (-apart + 10 * ((slopes.norm(2, dim=1) - 1) ** 2).mean()).backward()
    assert float(reached) == pytest.approx(float(apart.detach()), rel=1e-5)
    for ours, theirs in zip(critic.parameters(), textbook.parameters(), strict=True):
        assert theirs.grad is not None
        assert torch.allclose(ours, theirs - 0.01 * theirs.grad, atol=1e-6)


def test_a_fixed_critic_costs_no_gradient_of_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    critic = nn.Sequential(Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 1))
    maker = nn.Linear(3, 16)

    def loss() -> Tensor:
        scores: Tensor = critic(maker(drawn(5, 3)).view(5, 1, 4, 4)).mean()
        return scores

    (expected,) = torch.autograd.grad(loss(), [maker.weight])
    before = maker.weight.detach().clone()
    monkeypatch.setattr("bench.methods.nn.double_backward.conv2d_weight", None)
    with fixed(critic):
        descend(torch.optim.SGD(maker.parameters(), lr=1.0), loss())
    assert torch.allclose(maker.weight, before - expected, atol=1e-6)
    assert all(weight.requires_grad for weight in critic.parameters())


def test_a_penalty_in_each_third_step_weighs_three_times_as_much() -> None:
    assert [penalty_of_step(step, 10.0, 3) for step in range(5)] == [30.0, None, None, 30.0, None]
    assert [penalty_of_step(step, 10.0, 1) for step in range(3)] == [10.0] * 3


@pytest.mark.parametrize("penalty", [None, 2.5])
def test_a_critic_step_descends_what_it_says(penalty: float | None) -> None:
    """By plain autograd on a copy, one step of gradient descent."""
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0))
    real, fake = torch.rand(2, 5, 1, 2, 2)
    before = [weight.detach().clone() for weight in critic.parameters()]
    coefficients = torch.rand(5, generator=torch.Generator().manual_seed(3)).view(5, 1, 1, 1)
    loss = critic(fake).mean() - critic(real).mean()
    if penalty is not None:
        between = (coefficients * real + (1 - coefficients) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        loss = loss + penalty * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    slopes = torch.autograd.grad(loss, list(critic.parameters()))
    optimiser = torch.optim.SGD(critic.parameters(), 0.1)
    raise_distance(critic, optimiser, (real,), (fake,), penalty, torch.Generator().manual_seed(3))
    for weight, old, slope in zip(critic.parameters(), before, slopes, strict=True):
        torch.testing.assert_close(weight.detach(), old - 0.1 * slope)
