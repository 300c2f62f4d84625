"""MCFlow and PRFlow: losses and gradients against the textbook, the schedule, and real digits."""

from __future__ import annotations

import copy
import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.mcflow import MCFlow, is_refresh, negative_log_likelihood, reconstruction_error
from bench.methods.nearest_pixel import nearest_fill
from bench.methods.prflow import Balance, PRFlow, gradient_prior
from bench.methods.training import StopWhenFlat
from tests.methods import textbook
from tests.methods.test_realnvp import textbook_of
from tests.real import mnist, rmse_on_missing

HIDDEN = 6


def made_images(count: int = 12, channels: int = 1, size: int = 4) -> MaskedImages:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)
    observed = torch.rand(count, 1, size, size, generator=generator) < 0.4
    return MaskedImages(pixels * observed, observed)


def prepared(method: MCFlow, images: MaskedImages) -> MCFlow:
    """A method on its first step, in float64."""
    method._begin(images, FitContext())
    method.G.double()
    method.H.double()
    method._filled = method._filled.double()
    return method


def twin_of(method: MCFlow) -> tuple[textbook.TextbookFlow, nn.Module]:
    """G in full width, and a copy of H."""
    return textbook_of(method.G, method._filled.shape[1], HIDDEN), copy.deepcopy(method.H)


def observed_of(images: MaskedImages) -> Tensor:
    return images.observed.expand(images.pixels.shape).flatten(1).double()


def gradients_of(module: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("objective", ["likelihood", "joint"])
@pytest.mark.parametrize("channels", [1, 3])
def test_losses_and_gradients_are_the_textbook_s(
    objective: Literal["joint", "likelihood"], channels: int
) -> None:
    images = made_images(channels=channels)
    method = prepared(MCFlow(hidden=HIDDEN, flow_objective=objective), images)
    flow, imputer = twin_of(method)
    joint = objective == "joint"
    terms, _ = textbook.losses(flow, imputer, method._filled.clone(), observed_of(images), joint)
    reached = method._step(torch.arange(len(images)))
    for name, term in terms.items():
        assert float(reached[name]) == pytest.approx(float(term), rel=1e-8), name
    imputer_loss = terms["J1"] + terms["J2"]
    flow_loss = terms["J"] + imputer_loss if joint else terms["J"]
    expected = torch.autograd.grad(imputer_loss, list(imputer.parameters()), retain_graph=True)
    for mine, theirs in zip(gradients_of(method.H), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8)
    flow_loss.backward()  # type: ignore[no-untyped-call]
    compare_flow_gradients(method, flow)


def compare_flow_gradients(method: MCFlow, flow: textbook.TextbookFlow) -> None:
    """Ours, put where the slices lie, must be the full-width gradients, which are zero elsewhere."""
    for parameter in method.G.parameters():
        assert parameter.grad is not None
        parameter.data = parameter.grad.clone()
    placed, _ = twin_of(method)
    for ours, theirs in zip(placed.couplings, flow.couplings, strict=True):
        assert isinstance(ours, textbook.MaskedCoupling) and isinstance(theirs, textbook.MaskedCoupling)
        for mine, full in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert full.grad is not None
            seen = full.grad != 0
            torch.testing.assert_close(mine[seen], full.grad[seen], rtol=1e-8, atol=1e-8)
    assert sum(int((p.grad != 0).sum()) for p in flow.parameters() if p.grad is not None) == sum(
        int((p.grad != 0).sum()) for p in method.G.parameters() if p.grad is not None
    )


def test_prflow_adds_the_weighted_prior() -> None:
    images = made_images()
    method = prepared(
        PRFlow(hidden=HIDDEN, imputer_width=5, prior_weight=0.3, flow_objective="likelihood"), images
    )
    assert isinstance(method, PRFlow)
    flow, imputer = twin_of(method)
    terms, x_hat = textbook.losses(flow, imputer, method._filled.clone(), observed_of(images), False)
    energies = [
        textbook.gradient_prior(image.view(4, 4).tolist(), 1 / 3, 1 / 255) for image in x_hat.detach()
    ]
    reached = method._step(torch.arange(len(images)))
    assert float(reached["lambda J3"]) == pytest.approx(0.3 * sum(energies) / len(energies), rel=1e-8)
    total = terms["J1"] + terms["J2"] + 0.3 * gradient_prior(x_hat.view(-1, 1, 4, 4), 1 / 3, 1 / 255).mean()
    expected = torch.autograd.grad(total, list(imputer.parameters()))
    for mine, theirs in zip(gradients_of(method.H), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8)


def test_prior_by_hand_and_smooth_at_zero() -> None:
    step = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).view(1, 1, 2, 2).requires_grad_()
    energy = gradient_prior(step, alpha=0.5, smoothing=1e-4)
    assert float(energy.detach()) == pytest.approx(2 * (1 - 1e-2), rel=1e-6)
    flat = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    energy = gradient_prior(flat, 1 / 3, 1 / 255)
    (gradient,) = torch.autograd.grad(energy.sum(), flat)
    assert float(energy.detach()) == 0 and (gradient == 0).all()


def test_h_is_as_deep_and_wide_as_published() -> None:
    for method, widths in ((MCFlow(), [16] * 6), (PRFlow(), [16, 784, 784, 784, 16])):
        method._begin(made_images(), FitContext())
        layers = [layer for layer in method.H.modules() if isinstance(layer, nn.Linear)]
        assert [layers[0].in_features, *(layer.out_features for layer in layers)] == widths


def test_prflow_s_default_balances_the_prior_against_the_density() -> None:
    method = prepared(PRFlow(hidden=6, imputer_width=5), made_images())
    losses = method._step(torch.arange(12))
    assert float(losses["lambda J3"]) == pytest.approx(abs(float(losses["J1"])), rel=1e-5)


def test_balance_makes_magnitudes_equal_even_below_zero() -> None:
    balance = Balance()
    assert float(balance(torch.tensor(-600.0), torch.tensor(200.0))) == pytest.approx(3)
    for _ in range(2000):
        weight = balance(torch.tensor(-100.0), torch.tensor(50.0))
    assert float(weight) == pytest.approx(2, rel=1e-3)


def test_stop_when_flat() -> None:
    stop = StopWhenFlat(patience=3, tolerance=0.01)
    assert [stop(loss) for loss in (100, 80, 70, 60, 50, 49.9, 49.8, 49.7)] == [False] * 7 + [True]
    again = StopWhenFlat(3, 0.01)
    again.load_state_dict(stop.state_dict())
    assert again(49.7) and not again(30)


def test_prflow_stops_when_j2_no_longer_changes() -> None:
    context = FitContext()
    method = PRFlow(hidden=HIDDEN, imputer_width=5, epochs=50, patience=3, batch_size=4)
    method.learning_rate = 0.0
    method.fit(made_images(), context)
    # G is new after epochs 2 and 4, and the fit would refresh after epoch 8 if it went on.
    assert context.facts["epochs"] == 8


def test_prflow_goes_on_while_j2_falls_again_after_a_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """J2 starts at 200 with every new G and falls by 3 % an epoch: 152 after epoch 42, once at 127."""
    method = PRFlow(hidden=HIDDEN, imputer_width=5, epochs=64, patience=10, tolerance=0.01)
    since, refresh = 0, method._refresh

    def step(rows: Tensor) -> dict[str, Tensor]:
        nonlocal since
        since += 1
        return {"J2": torch.tensor(200 * 0.97 ** (since - 1))}

    def refreshed() -> None:
        nonlocal since
        since = 0
        refresh()

    monkeypatch.setattr(method, "_step", step)
    monkeypatch.setattr(method, "_refresh", refreshed)
    context = FitContext()
    method.fit(made_images(), context)
    assert context.facts["epochs"] == 64
    monkeypatch.setattr(method, "_step", lambda rows: {"J2": torch.tensor(200.0)})
    context = FitContext()
    method.fit(made_images(), context)
    # The last G is new after epoch 16.
    assert context.facts["epochs"] == 16 + 11


def test_the_fill_in_is_renewed_after_2_4_8_epochs() -> None:
    assert [epoch for epoch in range(70) if is_refresh(epoch)] == [2, 4, 8, 16, 32, 64]


def test_there_is_no_refresh_at_the_end() -> None:
    method = MCFlow(hidden=HIDDEN, epochs=8, batch_size=4)
    method.fit(made_images(), FitContext())
    # After epochs 2 and 4, and the last.
    assert len(method._stages.models) == 3


def test_a_refresh_starts_the_flow_anew_and_keeps_the_imputer() -> None:
    images = made_images()
    method = MCFlow(hidden=HIDDEN, epochs=8, batch_size=4)
    method._begin(images, FitContext())
    method._step(torch.arange(4))
    flow = {name: value.clone() for name, value in method.G.state_dict().items()}
    imputer = {name: value.clone() for name, value in method.H.state_dict().items()}
    filled = method._filled.clone()
    method._refresh()
    assert not method._G_adam.state and method._H_adam.state
    assert all(torch.equal(value, imputer[name]) for name, value in method.H.state_dict().items())
    changed = [not torch.equal(value, flow[name]) for name, value in method.G.state_dict().items()]
    assert all(changed)
    seen = observed_of(images).bool()
    assert torch.equal(method._filled[seen], filled[seen])
    assert not torch.equal(method._filled[~seen], filled[~seen])


def test_each_loss_by_hand() -> None:
    z = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    log_det = torch.tensor([0.5, -1.0])
    # -log N(z) = log 2 pi + |z|^2 / 2.
    expected = math.log(2 * math.pi) + ((0.5 - 0.5) + (2 + 1)) / 2
    assert float(negative_log_likelihood(z, log_det)) == pytest.approx(expected)
    x_hat, x = torch.tensor([[0.5, 0.2], [0.1, 0.9]]), torch.tensor([[0.1, 0.7], [0.1, 0.3]])
    observed = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert float(reconstruction_error(x_hat, x, observed)) == pytest.approx(0.4**2 + 0.6**2)


def test_training_images_are_imputed_through_the_stages_that_filled_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = made_images()
    method = MCFlow(hidden=HIDDEN, epochs=5, batch_size=4)
    kept: list[Tensor] = []
    refresh = method._refresh

    def watched() -> None:
        refresh()
        kept.append(method._filled.clone())

    monkeypatch.setattr(method, "_refresh", watched)
    method.fit(images, FitContext())
    method._stages.models.pop()
    torch.testing.assert_close(method.impute(images).flatten(1), kept[-1])


@pytest.mark.learns
@pytest.mark.parametrize("method", [MCFlow(), PRFlow(prior_weight=0.3)], ids=["mcflow", "prflow"])
def test_a_few_hundred_steps_on_real_digits_beat_the_start(method: MCFlow) -> None:
    method.hidden, method.epochs, method.batch_size, method.learning_rate = 128, 7, 128, 5e-4
    _, train = mnist("train", 3000, rate=0.8)
    truth, test = mnist("t10k", 500, rate=0.8)
    method.fit(train, FitContext())
    start = rmse_on_missing(truth, test, nearest_fill(test, seed=0).float() / 255)
    reached = rmse_on_missing(truth, test, method.impute(test))
    assert reached < 0.95 * start


@pytest.mark.parametrize("kind", [MCFlow, PRFlow])
def test_a_residual_imputer_starts_at_the_fill_in_and_adds_what_its_layers_give(kind: type[MCFlow]) -> None:
    images = made_images(channels=3)
    method = prepared(kind(hidden=HIDDEN, residual=True), images)
    x = method._filled
    z, _ = method.G(x)
    torch.testing.assert_close(method.G.inverse(method.H(z))[0], x)
    with torch.no_grad():
        for parameter in method.H.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(4))
    layers = prepared(kind(hidden=HIDDEN), images).H
    layers.load_state_dict(method.H.state_dict())
    torch.testing.assert_close(method.H(z), z + layers(z))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="flow_objective must be 'joint' or 'likelihood', not 'both'"):
        MCFlow(flow_objective="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="alpha must be above 0 and at most 1, not 0"):
        PRFlow(alpha=0)


def test_a_later_first_refresh_doubles_too() -> None:
    assert [epoch for epoch in range(70) if is_refresh(epoch, first=12)] == [12, 24, 48]
    assert not any(is_refresh(epoch, first=0) for epoch in range(70))


def test_the_reconstruction_s_weight_is_in_the_loss() -> None:
    images = made_images()
    once = prepared(MCFlow(hidden=HIDDEN), images)._step(torch.arange(12))
    often = prepared(MCFlow(hidden=HIDDEN, reconstruction_weight=7.0), images)._step(torch.arange(12))
    assert float(often["J2"]) == pytest.approx(7 * float(once["J2"]), rel=1e-12)
    assert float(often["J1"]) == float(once["J1"])


def test_the_rate_falls_along_half_a_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    """12 images in batches of 6, 4 epochs: 8 steps, whose rates are r (1 + cos(pi k / 8)) / 2."""
    method = MCFlow(hidden=HIDDEN, epochs=4, batch_size=6, learning_rate=0.02, falling_rate=True)
    step, rates = method._step, []

    def watched(rows: Tensor) -> dict[str, Tensor]:
        rates.append([each.param_groups[0]["lr"] for each in (method._G_adam, method._H_adam)])
        return step(rows)

    monkeypatch.setattr(method, "_step", watched)
    method.fit(made_images(), FitContext())
    wanted = [0.02, 0.01924, 0.01707, 0.01383, 0.01, 0.00617, 0.00293, 0.00076]
    assert rates == [[pytest.approx(rate, abs=5e-6)] * 2 for rate in wanted]
