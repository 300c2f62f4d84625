"""GAIN: losses by hand, which network each loss moves, what each may see, and real digits."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.gain import (
    GAIN,
    UNKNOWN,
    Game,
    fooling_loss,
    generate,
    guess,
    guessing_loss,
    reconstruction_loss,
)
from bench.methods.nearest_pixel import nearest_fill
from bench.methods.optimisation import set_rate
from bench.plugins.checkpoints import DiskCheckpoints
from tests.methods.adversarial import changed, interrupted_fit, made_images, weights_of
from tests.real import mnist, rmse_on_missing

# Three pixels: D guesses 0.8, 0.25 and 0.6 for being observed; the truth is yes, no, no.
GUESSES = torch.tensor([[0.8, 0.25, 0.6]])
LOG_ODDS = (GUESSES / (1 - GUESSES)).log()
OBSERVED = torch.tensor([[True, False, False]])


def built(images: MaskedImages) -> Game:
    """The game before its first step."""
    method = GAIN(hidden=8)
    method.context = FitContext()
    return method.new_game(images.shape)


def drawn(images: MaskedImages, told: float = 0.9) -> tuple[Tensor, Tensor]:
    """Noise for G, and where the hint tells the mask."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.01 * torch.rand(images.pixels.shape, generator=generator)
    return noise, torch.rand(images.observed.flatten(1).shape, generator=generator) < told


@pytest.mark.parametrize(
    ("told", "guessing", "fooling"),
    [
        ([False, False, False], -math.log(0.8 * 0.75 * 0.4) / 3, -math.log(0.25 * 0.6) / 2),
        ([False, True, False], -math.log(0.8 * 0.4) / 2, -math.log(0.6)),
        ([False, True, True], -math.log(0.8), 0.0),
        ([True, True, True], 0.0, 0.0),
    ],
)
def test_adversarial_losses_by_hand(told: list[bool], guessing: float, fooling: float) -> None:
    hint = torch.tensor([told])
    assert float(guessing_loss(LOG_ODDS, OBSERVED, hint)) == pytest.approx(guessing, abs=1e-6)
    assert float(fooling_loss(LOG_ODDS, OBSERVED, hint)) == pytest.approx(fooling, abs=1e-6)


def test_reconstruction_loss_by_hand() -> None:
    pixels = torch.tensor([51, 0, 255, 102], dtype=torch.uint8).view(1, 2, 1, 2)
    images = MaskedImages(pixels * torch.tensor([True, False]), torch.tensor([[[[True, False]]]]))
    generated = torch.tensor([0.5, 0.9, 0.6, 0.9]).view(1, 2, 1, 2)
    # Observed: 0.2 and 1.0.
    expected = (0.3**2 + 0.4**2) / 2
    assert float(reconstruction_loss(generated, images)) == pytest.approx(expected, rel=1e-5)


def test_the_generator_sees_observed_values_noise_and_mask_only() -> None:
    images = made_images((3, 6, 6), count=4)
    generator = built(images).generator
    noise = torch.rand(images.pixels.shape)
    seen: list[Tensor] = []
    generator.register_forward_hook(lambda module, arguments, output: seen.append(arguments[0]))
    generate(generator, images, noise)
    shown, mask = seen[0][:, :108].view(4, 3, 6, 6), seen[0][:, 108:].view(4, 1, 6, 6)
    assert torch.equal(mask.bool(), images.observed)
    assert torch.equal(shown, torch.where(images.observed, images.pixels.float() / 255, noise))


def test_a_step_trains_both_and_each_by_its_own_loss() -> None:
    images = made_images((1, 6, 6))[:8]
    game = built(images)
    networks = {"generator": game.generator, "discriminator": game.discriminator}
    before = weights_of(networks)
    for optimiser in (game.generator_adam, game.discriminator_adam):
        set_rate(optimiser, 0.0)
    game.update(images, *drawn(images), alpha=100.0)
    assert not changed(before, networks)
    set_rate(game.discriminator_adam, 1e-3)
    game.update(images, *drawn(images), alpha=100.0)
    assert changed(before, networks) == {"discriminator"}
    before = weights_of(networks)
    set_rate(game.discriminator_adam, 0.0)
    set_rate(game.generator_adam, 1e-3)
    game.update(images, *drawn(images), alpha=100.0)
    assert changed(before, networks) == {"generator"}


def test_the_hint_tells_its_share_of_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    images = made_images((1, 30, 30))
    method, hints = GAIN(hidden=8, epochs=1, batch_size=24), []
    new_game = method.new_game

    def watched(shape: tuple[int, int, int]) -> Game:
        game = new_game(shape)
        game.discriminator.register_forward_hook(lambda _, arguments, output: hints.append(arguments[0]))
        return game

    monkeypatch.setattr(method, "new_game", watched)
    # All images are in the one batch, and the observed pixels tell which is which.
    method.fit(images, FitContext())
    seen = hints[0][:, :900].view(24, 1, 30, 30)
    order = [
        next(
            n for n in range(24) if torch.equal(one[images.observed[n]], images.values[n][images.observed[n]])
        )
        for one in seen
    ]
    observed = images.observed[torch.tensor(order)]
    hint = hints[0][:, 900:]
    told = hint != 0.5
    assert torch.equal(hint[told].bool(), observed.flatten(1)[told])
    # 21,600 pixels, 0.9 of them told: one standard deviation is 0.002.
    assert float(told.float().mean()) == pytest.approx(0.9, abs=0.01)
    assert torch.equal(hints[0][:, 900:], hints[1][:, 900:])


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="hint_rate must be at least 0 and below 1, not 1"):
        GAIN(hint_rate=1.0)


def test_a_stopped_fit_goes_on_to_the_same_networks(tmp_path: Path) -> None:
    images = made_images((1, 8, 8))
    whole, part, again = (GAIN(hidden=8, epochs=3, batch_size=8) for _ in range(3))
    whole.fit(images, FitContext())
    interrupted_fit(part, images, tmp_path, steps=5)
    again.fit(images, FitContext(checkpoints=DiskCheckpoints(tmp_path)))
    assert torch.equal(again.impute(images), whole.impute(images))


@pytest.mark.learns
def test_a_few_steps_on_real_digits_beat_the_start() -> None:
    _, train = mnist("train", 2000, rate=0.8)
    truth, test = mnist("t10k", 100, rate=0.8)
    start = rmse_on_missing(truth, test, nearest_fill(test, seed=0).float() / 255)
    method = GAIN(hidden=128, epochs=12, batch_size=64, learning_rate=2e-3)
    method.fit(train, FitContext())
    assert rmse_on_missing(truth, test, method.impute(test)) < 0.98 * start


def test_the_generator_descends_fooling_and_weighted_reconstruction() -> None:
    """One plain gradient step against a plain backward with the same draws."""
    images = made_images((1, 6, 6))[:8]
    game = built(images)
    weights = [*game.generator.parameters()]
    set_rate(game.discriminator_adam, 0.0)
    noise, told = drawn(images, told=0.5)
    observed = images.observed.flatten(1)
    generated = generate(game.generator, images, noise)
    recovered = torch.where(images.observed, images.values, generated)
    guesses = guess(game.discriminator, recovered, torch.where(told, observed.float(), UNKNOWN))
    loss = fooling_loss(guesses, observed, told) + 100 * reconstruction_loss(generated, images)
    expected = torch.autograd.grad(loss, weights)
    before = [weight.detach().clone() for weight in weights]
    game.generator_adam = torch.optim.SGD(weights, lr=0.01)
    game.update(images, noise, told, alpha=100.0)
    for weight, old, gradient in zip(weights, before, expected, strict=True):
        assert torch.allclose(weight, old - 0.01 * gradient, atol=1e-6)
