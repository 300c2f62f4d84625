"""Training in bfloat16: its gradients are float32's, a stopped fit resumes, a rounded weight is never old."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.imputer import FitContext, Interrupted
from bench.methods.mcflow import MCFlow
from bench.methods.optimisation import adam, products_in
from bench.plugins.checkpoints import DiskCheckpoints
from tests.methods.test_mcflow import made_images

BFLOAT16 = FitContext(precision="bfloat16")

# bfloat16 rounds a value by at most 2^-9 of itself. A gradient passes up to 53 layers, whose roundings add up
# like a random walk: by 2^-9 * sqrt(53), at most. In one weight of small gradient more can come together; a
# pass that is left out would be half of it.
ROUNDING = 2**-9 * 53**0.5
OF_ONE_WEIGHT = 0.1


def step_of(precision: str) -> tuple[MCFlow, dict[str, Tensor]]:
    """A method after one step of its published form, and the losses before it."""
    images = made_images(count=32, size=8)
    method = MCFlow(hidden=64)
    method._begin(images, FitContext(precision=precision))
    return method, method._step(torch.arange(32))


def gradients_of(method: MCFlow) -> list[Tensor]:
    found = [parameter.grad for parameter in [*method.G.parameters(), *method.H.parameters()]]
    return [gradient for gradient in found if gradient is not None]


def test_gradients_and_losses_of_a_flow_are_float32_s_but_for_rounding() -> None:
    (exact, losses), (rounded, rounded_losses) = step_of("float32"), step_of("bfloat16")
    pairs = list(zip(gradients_of(exact), gradients_of(rounded), strict=True))
    assert len(pairs) == len([*exact.G.parameters(), *exact.H.parameters()])
    for one, other in pairs:
        assert other.dtype == torch.float32
        assert float((other - one).norm() / one.norm()) < OF_ONE_WEIGHT
    whole = [torch.cat([gradient.flatten() for gradient in side]) for side in zip(*pairs, strict=True)]
    assert float((whole[1] - whole[0]).norm() / whole[0].norm()) < ROUNDING
    assert any(not torch.equal(one, other) for one, other in pairs)
    for name, loss in losses.items():
        assert rounded_losses[name].dtype == torch.float32
        assert float(rounded_losses[name]) == pytest.approx(float(loss), rel=2e-3), name


def test_log_determinants_are_summed_in_float32() -> None:
    method, _ = step_of("bfloat16")
    with products_in(BFLOAT16, weights_move=False):
        for z, log_det in (method.G(method._filled), method.G.inverse(method._filled)):
            assert z.dtype == log_det.dtype == torch.float32


def test_a_weight_used_twice_is_rounded_once_and_its_gradients_are_added() -> None:
    layer, x = nn.Linear(3, 3, bias=False), torch.randn(2, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 0, 0], [0, 4, 0], [0, 0, 8]]))
    with products_in(BFLOAT16, weights_move=False):
        first, second = layer(x), layer(x)
    gradient = torch.autograd.grad((first.float() + 2 * second.float()).sum(), layer.weight)[0]
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, 3 * x.sum(0).expand(3, 3), rtol=2**-6, atol=2**-6)


def test_a_rounded_weight_is_not_kept_from_one_step_to_the_next() -> None:
    layer, x = nn.Linear(2, 1, bias=False), torch.ones(1, 2)
    optimiser = adam(layer.parameters(), 0.5)
    for _ in range(3):
        with products_in(BFLOAT16, weights_move=False):
            seen = [layer(x), layer(x)]
        expected = layer.weight.detach().bfloat16().float().sum()
        for out in seen:
            torch.testing.assert_close(out.detach().float().sum(), expected, rtol=2**-7, atol=2**-7)
        before = layer.weight.detach().clone()
        layer.weight.grad = torch.autograd.grad(seen[0].float().sum(), layer.weight)[0]
        optimiser.step()
        # Adam's first steps are as long as its learning rate, far more than rounding could hide.
        assert ((before - layer.weight).abs() > 0.4).all()


def test_a_second_flow_step_starts_from_the_weights_that_the_first_one_left() -> None:
    method, _ = step_of("bfloat16")
    with torch.no_grad():
        for parameter in [*method.G.parameters(), *method.H.parameters()]:
            parameter.zero_()
    losses = method._step(torch.arange(32))
    # With every weight 0, G is the identity and H gives 0, so J2 is the sum of the observed squares.
    observed = method._train.observed.flatten(1)
    expected = (method._filled.square() * observed).sum()
    assert float(losses["J2"]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("steps", [3, 7])
def test_a_stopped_flow_fit_in_bfloat16_resumes_bit_for_bit(tmp_path: Path, steps: int) -> None:
    images, settings = made_images(), {"hidden": 6, "epochs": 3, "batch_size": 4}
    whole, part, resumed = (MCFlow(**settings) for _ in range(3))  # type: ignore[arg-type]
    whole.fit(images, FitContext(precision="bfloat16"))
    asked = iter(range(steps))
    stopping = FitContext(
        precision="bfloat16",
        checkpoints=DiskCheckpoints(tmp_path),
        stop_requested=lambda: next(asked, None) is None,
    )
    with pytest.raises(Interrupted):
        part.fit(images, stopping)
    resumed.fit(images, FitContext(precision="bfloat16", checkpoints=DiskCheckpoints(tmp_path)))
    for one, other in zip(whole.G.parameters(), resumed.G.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(whole.impute(images), resumed.impute(images))
