"""PBiGAN: losses by hand, the schedules, who is updated when, and real digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.nn.critics import PairCritic
from bench.methods.nn.encoder import Encoder
from bench.methods.nn.made import InverseAutoregressiveFlow
from bench.methods.nn.wgan import Inputs
from bench.methods.pbigan import Game, PBiGAN, learning_rate_in, reconstruction_loss, risen
from bench.plugins.checkpoints import DiskCheckpoints
from tests.methods.adversarial import (
    SHAPES,
    changed,
    check_imputation,
    interrupted_fit,
    made_images,
    weights_of,
)
from tests.real import mnist, rmse_on_missing

SMALL: dict[str, Any] = {"epochs": 1, "batch_size": 8, "width": 4, "latent": 8}


def networks_of(method: PBiGAN | Game) -> dict[str, nn.Module]:
    """Those that a finished fit keeps, or all of a game."""
    critic = {"critic": method.critic} if isinstance(method, Game) else {}
    return {"encoder": method.encoder, "decoder": method.decoder, **critic}


def new_game(shape: tuple[int, int, int] = (1, 28, 28)) -> Game:
    """The game before its first step."""
    method = PBiGAN(**SMALL)
    method.context = FitContext()
    return method.new_game(shape)


def test_reconstruction_by_hand() -> None:
    decoded = torch.tensor([[[[math.log(3), -5.0]]], [[[0.0, -math.log(3)]]]])
    x = torch.tensor([[[[1.0, 1.0]]], [[[0.5, 0.0]]]])
    observed = torch.tensor([[[[True, False]]], [[[True, True]]]])
    # Sigmoids 3/4, (missing); 1/2, 1/4. Two images share the sum.
    loss = reconstruction_loss("cross-entropy", decoded, x, observed)
    assert float(loss) == pytest.approx((-math.log(0.75) - math.log(0.5) - math.log(0.75)) / 2)
    # Smooth L1 is half the square below 1: errors 1/4, (missing); 0, 1/4.
    loss = reconstruction_loss("smooth-l1", decoded, x, observed)
    assert float(loss) == pytest.approx((0.25**2 / 2 + 0.25**2 / 2) / 2)


def test_an_unknown_reconstruction_is_refused() -> None:
    with pytest.raises(ValueError, match="'cross-entropy' or 'smooth-l1', not 'mse'"):
        PBiGAN(reconstruction="mse")  # type: ignore[arg-type]


def test_the_weight_waits_and_rises_to_the_last_epoch() -> None:
    assert [risen(epoch, 2000) for epoch in (0, 50, 99, 100)] == [0, 0, 0, 0]
    assert risen(1999, 2000) == pytest.approx(1)
    middle = (100 + 1999) / 2
    assert risen(int(middle), 2000) == pytest.approx(0.5, rel=1e-3)
    # The same course in a tenth of the epochs.
    assert [risen(epoch, 200) for epoch in (0, 10)] == [0, 0]
    assert risen(11, 200) > 0 and risen(199, 200) == pytest.approx(1)
    assert risen(0, 1) == 0


def test_the_learning_rate_falls_in_ten_steps() -> None:
    rates = [learning_rate_in(epoch, 500, 2e-4, 5e-5) for epoch in range(500)]
    assert len(set(rates)) == 10 and rates[:50] == [2e-4] * 50
    ratios = [after / before for before, after in pairwise(rates) if after != before]
    # Ten such steps would lead to 5e-5, a quarter.
    assert ratios == pytest.approx([0.25**0.1] * 9)
    assert {learning_rate_in(epoch, 20, 1e-4, 1e-4) for epoch in range(20)} == {1e-4}


@pytest.mark.parametrize(("rising", "weight"), [(False, 0.5), (True, 0.5 * (5 - 0.5) / (9 - 0.5))])
def test_the_schedules_reach_encoder_and_decoder_only(
    monkeypatch: pytest.MonkeyPatch, rising: bool, weight: float
) -> None:
    settings = {"learning_rate": 2e-4, "final_learning_rate": 5e-5, "reconstruction_weight": 0.5}
    method = PBiGAN(**SMALL | settings | {"epochs": 10, "rising_weight": rising})
    method.context = FitContext()
    game, images = method.new_game((1, 28, 28)), made_images((1, 28, 28))
    given: list[Any] = []
    monkeypatch.setattr(game, "update_coders", lambda *arguments: given.extend(arguments))
    method._update_coders(game, images[:8], images.observed, 5)
    assert given[-1] == pytest.approx(weight)
    assert game.coders_adam.param_groups[0]["lr"] == pytest.approx(1e-4)
    assert game.critic_adam.param_groups[0]["lr"] == 2e-4


def test_networks_have_the_published_sizes() -> None:
    def count(network: nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    body = (25 * 64 + 64) + (64 * 25 * 128 + 128) + (128 * 25 * 256 + 256)
    head = 4097 * 384 + 2 * 384 + 385 * 384
    flow = 129 * 256 + 128 * 256 + 257 * 256 + 257 * 256 + 128
    assert count(Encoder((1, 28, 28), 128, 64)) == body + head + 2 * flow
    code = 129 * 64 + 2 * 64 + 65 * 64
    pair = 129 * 64 + 2 * 64 + 65
    assert count(PairCritic((1, 28, 28), 128, 64)) == body + 4097 * 64 + code + pair


@pytest.mark.parametrize("shape", [*SHAPES, (1, 48, 32)])
def test_shapes_and_scores_of_single_pairs(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    images, codes = torch.rand(3, *shape), torch.randn(3, 8)
    assert Encoder(shape, 8, 4)(images, codes).shape == (3, 8)
    critic = PairCritic(shape, 8, 4)
    scores = critic(images, codes)
    assert scores.shape == (3,)
    alone = [critic(image[None], code[None]) for image, code in zip(images, codes, strict=True)]
    assert torch.allclose(scores, torch.cat(alone), atol=1e-5)


def test_an_encoder_without_noise_gives_its_mean() -> None:
    """The code is linear in the noise before the flows, with a positive spread; see it with flows at rest."""
    torch.manual_seed(0)
    encoder = Encoder((1, 28, 28), 8, 4)
    for flow in encoder.flows:
        assert isinstance(flow, InverseAutoregressiveFlow)
        flow.bias.data.fill_(1000.0)
    images, noise = torch.rand(2, 1, 28, 28), torch.randn(2, 8)
    with torch.no_grad():
        at_rest, once, twice = (encoder(images, scale * noise) for scale in (0, 1, 2))
        mean, spread, _ = encoder.head(encoder.body(images)).chunk(3, 1)
    assert torch.allclose(at_rest, mean.flip(1))
    assert torch.allclose(twice - at_rest, 2 * (once - at_rest), atol=1e-5)
    assert torch.allclose(once - at_rest, ((1 + spread.exp()).log() * noise).flip(1), atol=1e-5)


def test_each_update_moves_its_own_networks() -> None:
    game, images = new_game(), made_images((1, 28, 28))
    before = weights_of(networks_of(game))
    game.update_critic(images[:8], images.observed, 10.0)
    assert changed(before, networks_of(game)) == {"critic"}
    before = weights_of(networks_of(game))
    game.update_coders(images[:8], images.observed, "cross-entropy", 0.1)
    assert changed(before, networks_of(game)) == {"encoder", "decoder"}


@pytest.mark.parametrize("own_batch", [False, True])
def test_who_is_updated_when(monkeypatch: pytest.MonkeyPatch, own_batch: bool) -> None:
    updates: list[tuple[str, bytes]] = []

    def noted(name: str) -> Callable[..., Tensor]:
        def update(game: Game, batch: MaskedImages, *_: object) -> Tensor:
            updates.append((name, batch.pixels.numpy().tobytes()))
            return torch.tensor(0.0)

        return update

    monkeypatch.setattr(Game, "update_critic", noted("critic"))
    monkeypatch.setattr(Game, "update_coders", noted("coders"))
    settings = SMALL | {"epochs": 2, "critic_steps": 2, "own_batch": own_batch}
    PBiGAN(**settings).fit(made_images((1, 28, 28)), FitContext())
    # Six batches.
    names, batches = zip(*updates, strict=True)
    if own_batch:
        assert names == ("critic", "critic", "coders") * 2
        assert all(before != after for before, after in pairwise(batches))
    else:
        assert names == ("critic", "critic", "coders") * 3
        assert all(batches[n] != batches[n + 1] == batches[n + 2] for n in (0, 3, 6))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_critic_compares(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    game, train = new_game(shape), made_images(shape)
    batch = train[:8]
    pairs: list[Inputs] = []

    def compare(critic: nn.Module, _: object, real: Inputs, fake: Inputs, *__: object) -> Tensor:
        pairs.extend([real, fake])
        return torch.tensor(0.0)

    monkeypatch.setattr("bench.methods.pbigan.raise_distance", compare)
    game.update_critic(batch, train.observed, 10.0)
    (images, codes), (generated, z) = pairs
    assert torch.equal(images, batch.values) and codes.shape == z.shape == (8, 8)
    assert not (codes.requires_grad or generated.requires_grad)
    # A generated image is black where the mask of some training image misses, in all channels.
    masks = {bytes(mask.numpy().tobytes()) for mask in train.observed}
    for image in generated:
        assert bytes((image > 0).any(0, keepdim=True).numpy().tobytes()) in masks
        assert torch.equal((image > 0).all(0), (image > 0).any(0))


def test_the_decoder_s_normalisations_see_codes_as_often_as_noise() -> None:
    """In the critic's steps too, as in the authors' code: they are what an image is imputed with."""
    method = PBiGAN(**SMALL, critic_steps=2, own_batch=True)
    context = FitContext()
    method.fit(made_images((3, 32, 32)), context)
    (first, *_) = (each for each in method.decoder.modules() if isinstance(each, nn.BatchNorm2d))
    assert first.num_batches_tracked == 2 * context.facts["steps"]


def test_the_coders_descend_distance_and_weighted_reconstruction() -> None:
    """One plain gradient step against a plain backward with the same draws."""
    game, train = new_game(), made_images((1, 28, 28))
    batch, coders = train[:8], [*game.encoder.parameters(), *game.decoder.parameters()]
    state = game.noise.get_state()
    (values, code), (generated, z) = game.pairs(batch, train.observed)
    game.noise.set_state(state)
    apart = game.critic(values, code).mean() - game.critic(generated, z).mean()
    error = reconstruction_loss("cross-entropy", game.decoder(code), batch.values, batch.observed)
    expected = torch.autograd.grad(apart + 0.5 * error, coders)
    before = [weight.detach().clone() for weight in coders]
    game.coders_adam = torch.optim.SGD(coders, lr=0.01)
    game.update_coders(batch, train.observed, "cross-entropy", 0.5)
    for weight, old, gradient in zip(coders, before, expected, strict=True):
        assert torch.allclose(weight, old - 0.01 * gradient, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fit_and_impute(shape: tuple[int, int, int], precision: str) -> None:
    images = made_images(shape)
    method = PBiGAN(**SMALL, critic_steps=2, own_batch=shape[0] == 3)
    context = FitContext(precision=precision)
    method.fit(images, context)
    assert context.facts["steps"] == 3 and set(context.facts["history"][0]) == {"distance"}
    if precision == "float32":
        check_imputation(method, images)


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_a_stopped_fit_resumes_to_the_same_weights(tmp_path: Path, steps: int) -> None:
    images = made_images((3, 32, 32))
    settings = SMALL | {"epochs": 3, "critic_steps": 2, "own_batch": True, "final_learning_rate": 1e-5}
    whole = PBiGAN(**settings)
    whole.fit(images, FitContext())
    interrupted_fit(PBiGAN(**settings), images, tmp_path, steps)
    resumed = PBiGAN(**settings)
    resumed.fit(images, FitContext(checkpoints=DiskCheckpoints(tmp_path)))
    assert not changed(weights_of(networks_of(whole)), networks_of(resumed))
    assert torch.equal(resumed.impute(images), whole.impute(images))


@pytest.mark.learns
def test_learns_on_real_digits() -> None:
    _, train = mnist("train", 1600, 0.8)
    truth, test = mnist("t10k", 200, 0.8)
    method = PBiGAN(epochs=4, batch_size=16, width=8, learning_rate=5e-4, final_learning_rate=5e-4)
    context = FitContext()
    method.fit(train, context)
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0))
    score = rmse_on_missing(truth, test, method.impute(test))
    zeros = rmse_on_missing(truth, test, torch.zeros(truth.shape))
    distances = [epoch["distance"] for epoch in context.facts["history"]]
    assert distances[-1] < 0.9 * max(distances)
    # The encoder is given black for what is missing; better than that is more than leaving it so.
    assert score < 0.95 * zeros < 0.8 * rmse_on_missing(truth, test, noise)
