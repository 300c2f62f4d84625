"""MisGAN: signs, losses by hand, who is updated when, and real digits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.misgan import (
    Game,
    MisGAN,
    data_loss,
    fill,
    imputer_loss,
    missingness_loss,
    nearly_binary,
    recover,
)
from bench.methods.nn.critics import ImageCritic
from bench.methods.nn.generators import generator
from bench.methods.nn.misgan import imputer, networks
from bench.methods.nn.wgan import Inputs
from bench.plugins.checkpoints import DiskCheckpoints
from tests.methods.adversarial import (
    SHAPES,
    Linear,
    changed,
    check_imputation,
    interrupted_fit,
    made_images,
    weights_of,
)
from tests.real import mnist, rmse_on_missing

SMALL: dict[str, Any] = {"epochs": 1, "batch_size": 8, "width": 4, "latent": 8}


def test_fill_keeps_what_is_observed() -> None:
    x = torch.tensor([[[[0.2, 0.8]]], [[[0.6, 0.4]]]])
    observed = torch.tensor([[[[1.0, 0.0]]], [[[0.25, 1.0]]]])
    expected = torch.tensor([[[[0.2, 0.5]]], [[[0.25 * 0.6 + 0.75 * 0.5, 0.4]]]])
    assert torch.allclose(fill(x, observed, 0.5), expected)
    # One mask serves all channels.
    assert torch.equal(fill(x.expand(2, 3, 1, 2), observed, 0.0), (x * observed).expand(2, 3, 1, 2))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_imputer_sees_observed_pixels_and_noise_where_they_are_missing(
    shape: tuple[int, int, int],
) -> None:
    images, network = made_images(shape), imputer(shape, 4)
    noise = torch.rand(images.pixels.shape)
    seen: list[Tensor] = []
    network.register_forward_hook(lambda module, arguments, output: seen.append(arguments[0]))
    recover(network, images, noise)
    assert torch.equal(seen[0], torch.where(images.observed, images.pixels.float() / 255, noise))


def test_one_colour_image_is_refused() -> None:
    with pytest.raises(ValueError, match="it takes two images at least"):
        MisGAN(**SMALL).fit(made_images((3, 32, 32), count=1), FitContext())
    MisGAN(**SMALL, critic_steps=1).fit(made_images((1, 28, 28), count=1), FitContext())


def test_generated_masks_are_nearly_binary() -> None:
    # sigmoid(0) = 1/2, sigmoid(log 3) = 3/4, sigmoid(-log 3) = 1/4, stretched by 1.2 about 1/2.
    log3 = 0.66 * math.log(3)
    values = torch.tensor([0.0, log3, -log3, 3.0, -3.0])
    assert torch.allclose(nearly_binary(values), torch.tensor([0.5, 0.8, 0.2, 1.0, 0.0]))


def test_networks_have_the_published_sizes() -> None:
    def count(network: nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    digit = generator(128, (1, 28, 28), 64)
    assert count(digit) == (129 * 4096 + (256 * 25 * 128 + 128) + (128 * 25 * 64 + 64) + (64 * 64 * 1 + 1))
    critic = ImageCritic((1, 28, 28), 64)
    assert count(critic) == (25 * 64 + 64) + (64 * 25 * 128 + 128) + (128 * 25 * 256 + 256) + 4097
    assert count(imputer((1, 28, 28), 64)) == 4 * 785 * 784
    # 32x32: one level less than the published 64x64; a normalised layer has a scale and a shift, no bias.
    photo = generator(128, (3, 32, 32), 64)
    doublings = 256 * 25 * 128 + 2 * 128 + 128 * 25 * 64 + 2 * 64 + (64 * 25 * 3 + 3)
    assert count(photo) == 128 * 4096 + 2 * 4096 + doublings
    critic = ImageCritic((3, 32, 32), 64)
    halvings = (3 * 25 * 64 + 64) + 64 * 25 * 128 + 2 * 128 + 128 * 25 * 256 + 2 * 256
    assert count(critic) == halvings + (256 * 16 + 1)
    down = (3 * 16 * 64 + 64) + 64 * 16 * 128 + 256 + 128 * 16 * 256 + 512 + (256 * 16 * 512 + 512)
    up = 512 * 16 * 256 + 512 + 512 * 16 * 128 + 256 + 256 * 16 * 64 + 128 + (128 * 16 * 3 + 3)
    assert count(imputer((3, 32, 32), 64)) == down + up


@pytest.mark.parametrize("shape", [*SHAPES, (1, 32, 32), (3, 28, 28), (3, 16, 48), (3, 64, 64)])
def test_shapes(shape: tuple[int, int, int]) -> None:
    images = torch.rand(2, *shape)
    assert generator(8, shape, 4)(torch.randn(2, 8)).shape == images.shape
    assert ImageCritic(shape, 4)(images).shape == (2,)
    assert imputer(shape, 4)(images).shape == images.shape


@pytest.mark.parametrize("size", [(30, 30), (8, 8), (28, 32)])
def test_other_sizes_are_refused_in_one_line(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]}.*28x28.*divisible by 16") as caught:
        MisGAN(**SMALL).fit(made_images((1, *size)), FitContext())
    assert "\n" not in str(caught.value)


def test_a_critic_scores_each_image_by_itself() -> None:
    critic = ImageCritic((3, 32, 32), 4)
    images = torch.rand(6, 3, 32, 32)
    assert torch.allclose(critic(images), torch.cat([critic(image[None]) for image in images]), atol=1e-5)


def test_losses_by_hand() -> None:
    data, mask, imputation = Linear(1.0), Linear(10.0), Linear(100.0)
    x = torch.tensor([[[[0.2, 0.8]]], [[[0.6, 0.4]]]])
    observed = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])
    # fill: 0.2 + 0.5 and 0.6 + 0.4, mean 0.85; masks: 1 and 2, mean 15; images: 1 and 1, mean 100.
    assert float(missingness_loss(mask, data, x, observed, 0.5, 0.1)) == pytest.approx(-15 - 0.1 * 0.85)
    assert float(data_loss(data, imputation, x, observed, 0.5, 0.2)) == pytest.approx(-0.85 + 0.2 * 100)
    assert float(imputer_loss(imputation, x)) == pytest.approx(-100)


def new_game(shape: tuple[int, int, int] = (1, 28, 28), **settings: Any) -> Game:
    """The game before its first step."""
    method = MisGAN(**SMALL | settings)
    method.context = FitContext()
    return method.new_game(shape)


def test_the_imputer_and_its_critic_have_a_rate_of_their_own() -> None:
    game = new_game(learning_rate=1e-4, imputer_learning_rate=2e-4)
    rates = {name: adam.param_groups[0]["lr"] for name, adam in game.adams.items()}
    assert {name for name, rate in rates.items() if rate == 2e-4} == {
        "imputer_adam",
        "imputation_critic_adam",
    }
    assert {rate for name, rate in rates.items() if "imput" not in name} == {1e-4}


def test_each_update_moves_its_own_networks() -> None:
    game, batch = new_game(), made_images((1, 28, 28))[:8]
    before = weights_of(game.networks)
    game.update_critics(batch, 10.0)
    assert changed(before, game.networks) == {"data_critic", "mask_critic", "imputation_critic"}
    before = weights_of(game.networks)
    game.update_generators(batch)
    assert changed(before, game.networks) == {"data_generator", "missingness_generator", "imputer"}


def test_who_is_updated_when(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def critics(game: Game, batch: MaskedImages, penalty: float | None) -> dict[str, Tensor]:
        calls.append("critics" if penalty is None else f"critics, penalty {penalty:g}")
        return {}

    monkeypatch.setattr(Game, "update_critics", critics)
    monkeypatch.setattr(Game, "update_generators", lambda game, batch: calls.append("generators"))
    method = MisGAN(**SMALL | {"epochs": 2}, critic_steps=3, penalty_every=2)
    method.fit(made_images((1, 28, 28), count=28), FitContext())
    penalised = "critics, penalty 20"
    assert calls == [
        penalised,
        "critics",
        penalised,
        "generators",
        "critics",
        penalised,
        "critics",
        "generators",
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_each_critic_compares(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    game, batch = new_game(shape, tau=0.5), made_images(shape)[:8]
    pairs = {}
    names = {network: name for name, network in game.networks.items()}

    def compare(critic: nn.Module, _: object, real: Inputs, fake: Inputs, *__: object) -> Tensor:
        pairs[names[critic]] = real[0], fake[0]
        return torch.tensor(0.0)

    monkeypatch.setattr("bench.methods.misgan.raise_distance", compare)
    game.update_critics(batch, 10.0)
    observed, channels = batch.observed, shape[0]
    seen = observed.expand(8, channels, -1, -1)
    real, fake = pairs["data_critic"]
    assert torch.allclose(real[seen], batch.values[seen]) and (real[~seen] == 0.5).all()
    generated, recovered = pairs["imputation_critic"]
    assert torch.equal(recovered[seen], batch.values[seen])
    assert not torch.equal(recovered[~seen], batch.values[~seen])
    mask = pairs["mask_critic"][1]
    assert torch.equal(pairs["mask_critic"][0], observed.float()) and mask.shape == observed.shape
    assert torch.allclose(fake, mask * generated + (1 - mask) * 0.5, atol=1e-6)


def test_the_generators_ask_no_gradient_of_the_critics_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    game = new_game()
    monkeypatch.setattr("bench.methods.nn.double_backward.conv2d_weight", None)
    before = weights_of(game.networks)
    game.update_generators(made_images((1, 28, 28))[:8])
    assert changed(before, game.networks) == {"data_generator", "missingness_generator", "imputer"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fit_and_impute(shape: tuple[int, int, int], precision: str) -> None:
    images = made_images(shape)
    method = MisGAN(**SMALL, critic_steps=2)
    context = FitContext(precision=precision)
    method.fit(images, context)
    assert context.facts["steps"] == 3 and set(context.facts["history"][0]) == {"data", "mask", "imputation"}
    if precision == "float32":
        imputed = check_imputation(method, images)
        assert torch.equal(images.paste(imputed), imputed)
        hidden = MaskedImages.trusted(images.pixels.masked_fill(~images.observed, 9), images.observed)
        assert torch.equal(method.impute(hidden), imputed)


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_a_stopped_fit_resumes_to_the_same_weights(tmp_path: Path, steps: int) -> None:
    images = made_images((3, 32, 32))
    settings = SMALL | {"epochs": 3, "critic_steps": 2}
    whole = MisGAN(**settings)
    whole.fit(images, FitContext())
    interrupted_fit(MisGAN(**settings), images, tmp_path, steps)
    resumed = MisGAN(**settings)
    resumed.fit(images, FitContext(checkpoints=DiskCheckpoints(tmp_path)))
    assert not changed(weights_of({"imputer": whole.imputer}), {"imputer": resumed.imputer})
    assert torch.equal(resumed.impute(images), whole.impute(images))


def test_the_dense_networks_have_the_sizes_of_the_authors_code() -> None:
    players = networks((1, 28, 28), 128, 64, "dense")

    def widths(name: str) -> list[int]:
        linear = [layer for layer in players[name].modules() if isinstance(layer, nn.Linear)]
        return [linear[0].in_features, *(layer.out_features for layer in linear)]

    for kind in ("data", "missingness"):
        assert widths(f"{kind}_generator") == [128, 256, 512, 784]
    for kind in ("data", "mask", "imputation"):
        assert widths(f"{kind}_critic") == [784, 512, 256, 128, 1]
    x = torch.rand(3, 1, 28, 28)
    assert players["data_critic"](x).shape == (3,) and players["imputer"](x).shape == x.shape
    # No two layers follow each other without a ramp, and no ramp is at the end.
    values = [type(layer) for layer in players["data_critic"].modules() if not list(layer.children())]
    assert values == [nn.Flatten, *[nn.Linear, nn.ReLU] * 3, nn.Linear]


def test_the_average_is_that_of_the_imputer_s_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: the first update's weights, then 0.75 of the old average and 0.25 of the new weights."""
    seen: list[dict[str, Tensor]] = []
    update = Game.update_generators

    def watched(game: Game, batch: MaskedImages) -> None:
        update(game, batch)
        seen.append({name: each.clone() for name, each in game.networks["imputer"].state_dict().items()})

    monkeypatch.setattr(Game, "update_generators", watched)
    context, plain = FitContext(), FitContext()
    method = MisGAN(**SMALL | {"epochs": 2}, critic_steps=2, average=0.75)
    method.fit(made_images((1, 28, 28), count=32), context)
    expected = seen[0]
    for weights in seen[1:]:
        expected = {name: 0.75 * each + 0.25 * weights[name] for name, each in expected.items()}
    assert len(seen) == 4
    for name, each in method.imputer.state_dict().items():
        torch.testing.assert_close(each, expected[name], msg=name)
    MisGAN(**SMALL).fit(made_images((1, 28, 28), count=32), plain)
    assert context.facts["parameters"] == plain.facts["parameters"], "an average has no parameters of its own"


@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 32, 32)])
def test_dense_networks_take_any_size_and_single_images(shape: tuple[int, int, int]) -> None:
    images = made_images(shape, count=1)
    method = MisGAN(**SMALL, critic_steps=1, architecture="dense")
    method.fit(images, FitContext())
    assert check_imputation(method, images).shape == (1, *shape)


@pytest.mark.parametrize("settings", [{"average": 0.9}, {"architecture": "dense", "penalty_every": 2}])
def test_a_stopped_fit_with_other_settings_resumes_too(tmp_path: Path, settings: dict[str, Any]) -> None:
    whole = MisGAN(**SMALL | {"epochs": 2} | settings, critic_steps=2)
    images = made_images((1, 28, 28), count=32)
    whole.fit(images, FitContext())
    again = MisGAN(**SMALL | {"epochs": 2} | settings, critic_steps=2)
    interrupted_fit(MisGAN(**SMALL | {"epochs": 2} | settings, critic_steps=2), images, tmp_path, 5)
    again.fit(images, FitContext(checkpoints=DiskCheckpoints(tmp_path)))
    assert torch.equal(whole.impute(images), again.impute(images))


@pytest.mark.learns
def test_learns_on_real_digits() -> None:
    _, train = mnist("train", 1600, 0.8)
    truth, test = mnist("t10k", 200, 0.8)
    settings: dict[str, Any] = {
        "epochs": 6,
        "batch_size": 16,
        "width": 8,
        "learning_rate": 1e-3,
        "imputer_learning_rate": 2e-3,
    }
    method = MisGAN(**settings)
    context = FitContext()
    method.fit(train, context)
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0))
    imputed = method.impute(test)
    score = rmse_on_missing(truth, test, imputed)
    distances = [epoch["data"] for epoch in context.facts["history"]]
    assert distances[-1] < 0.8 * max(distances)
    assert score < 0.8 * rmse_on_missing(truth, test, noise)
    # All black would be nearer to the truth than noise, too; what is filled in goes with what is missing.
    missing = ~test.observed
    filled_in, lacking = imputed[missing], truth[missing].float()
    assert torch.corrcoef(torch.stack([filled_in, lacking]))[0, 1] > 0.15
