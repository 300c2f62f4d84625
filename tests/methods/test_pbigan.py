"""PBiGAN: losses by hand, the schedules, who is updated when, and real digits."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.imputer import FitContext
from bench.methods.nn.made import InverseAutoregressiveFlow
from bench.methods.nn.wgan import Inputs
from bench.methods.pbigan import Encoder, PairCritic, PBiGAN
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


def networks_of(method: PBiGAN) -> dict[str, nn.Module]:
    return {"encoder": method._encoder, "decoder": method._decoder, "critic": method._critic}


def prepared(shape: tuple[int, int, int] = (1, 28, 28), **settings: Any) -> PBiGAN:
    """A method before its first step."""
    method = PBiGAN(**SMALL | {"epochs": 0} | settings)
    images = made_images(shape)
    method.fit(images, FitContext())
    method._train, method.epochs = images, 1
    return method


def test_reconstruction_by_hand() -> None:
    decoded = torch.tensor([[[[math.log(3), -5.0]]], [[[0.0, -math.log(3)]]]])
    x = torch.tensor([[[[1.0, 1.0]]], [[[0.5, 0.0]]]])
    observed = torch.tensor([[[[True, False]]], [[[True, True]]]])
    # Sigmoids 3/4, (missing); 1/2, 1/4. Two images share the sum.
    loss = PBiGAN().reconstruction_loss(decoded, x, observed)
    assert float(loss) == pytest.approx((-math.log(0.75) - math.log(0.5) - math.log(0.75)) / 2)
    # Smooth L1 is half the square below 1: errors 1/4, (missing); 0, 1/4.
    loss = PBiGAN(reconstruction="smooth-l1").reconstruction_loss(decoded, x, observed)
    assert float(loss) == pytest.approx((0.25**2 / 2 + 0.25**2 / 2) / 2)


def test_an_unknown_reconstruction_is_refused() -> None:
    with pytest.raises(ValueError, match="'cross-entropy' or 'smooth-l1', not 'mse'"):
        PBiGAN(reconstruction="mse")


def test_the_weight_waits_and_rises_to_the_last_epoch() -> None:
    method = PBiGAN(epochs=2000)
    assert [method.weight_in(epoch) for epoch in (0, 50, 99, 100)] == [0, 0, 0, 0]
    assert method.weight_in(1999) == pytest.approx(0.1)
    middle = (100 + 1999) / 2
    assert method.weight_in(int(middle)) == pytest.approx(0.05, rel=1e-3)
    # The same course in a tenth of the epochs.
    short = PBiGAN(epochs=200)
    assert [short.weight_in(epoch) for epoch in (0, 10)] == [0, 0]
    assert short.weight_in(11) > 0 and short.weight_in(199) == pytest.approx(0.1)
    flat = PBiGAN(**PBiGAN.for_dataset["celeba"], epochs=500)
    assert {flat.weight_in(epoch) for epoch in (0, 250, 499)} == {0.002}
    assert PBiGAN(epochs=1).weight_in(0) == 0


def test_the_learning_rate_falls_in_ten_steps() -> None:
    method = PBiGAN(**PBiGAN.for_dataset["celeba"], epochs=500)
    rates = [method.learning_rate_in(epoch) for epoch in range(500)]
    assert len(set(rates)) == 10 and rates[:50] == [2e-4] * 50
    ratios = [after / before for before, after in pairwise(rates) if after != before]
    # Ten such steps would lead to 5e-5, a quarter.
    assert ratios == pytest.approx([0.25**0.1] * 9)
    assert {PBiGAN(epochs=20).learning_rate_in(epoch) for epoch in range(20)} == {1e-4}


def test_the_learning_rate_reaches_encoder_and_decoder_only() -> None:
    method = prepared(learning_rate=2e-4, final_learning_rate=5e-5)
    method.epochs = 10
    method._update_coders(method._train[:8], 5)
    assert method._coders_adam.param_groups[0]["lr"] == pytest.approx(1e-4)
    assert method._critic_adam.param_groups[0]["lr"] == 2e-4


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


@pytest.mark.parametrize("own_batch", [False, True])
def test_who_is_updated_when(own_batch: bool) -> None:
    method = prepared(critic_steps=2, own_batch=own_batch)
    for number in range(6):
        before = weights_of(networks_of(method))
        method._step(torch.arange(8), number)
        if own_batch:
            expected = {"encoder", "decoder"} if number in (2, 5) else {"critic"}
        else:
            expected = {"encoder", "decoder", "critic"} if number % 2 else {"critic"}
        assert changed(before, networks_of(method)) == expected, number


@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_critic_compares(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    method = prepared(shape)
    batch = method._train[:8]
    pairs: list[Inputs] = []

    def compare(critic: nn.Module, _: object, real: Inputs, fake: Inputs, **__: object) -> Tensor:
        pairs.extend([real, fake])
        return torch.tensor(0.0)

    monkeypatch.setattr("bench.methods.pbigan.raise_distance", compare)
    method._step(torch.arange(8), 0)
    (images, codes), (generated, z) = pairs
    assert torch.equal(images, batch.values) and codes.shape == z.shape == (8, 8)
    assert not (codes.requires_grad or generated.requires_grad)
    # A generated image is black where the mask of some training image misses, in all channels.
    masks = {bytes(mask.numpy().tobytes()) for mask in method._train.observed}
    for image in generated:
        assert bytes((image > 0).any(0, keepdim=True).numpy().tobytes()) in masks
        assert torch.equal((image > 0).all(0), (image > 0).any(0))


def test_the_decoder_s_normalisations_see_codes_as_often_as_noise() -> None:
    """In the critic's steps too, as in the authors' code: they are what an image is imputed with."""
    method = PBiGAN(**SMALL, critic_steps=2, own_batch=True)
    context = FitContext()
    method.fit(made_images((3, 32, 32)), context)
    (first, *_) = (each for each in method._decoder.modules() if isinstance(each, nn.BatchNorm2d))
    assert first.num_batches_tracked == 2 * context.facts["steps"]


def test_the_coders_descend_distance_and_weighted_reconstruction() -> None:
    """One plain gradient step against a plain backward with the same draws."""
    method = prepared(rising_weight=False, reconstruction_weight=0.5)
    batch, coders = method._train[:8], [*method._encoder.parameters(), *method._decoder.parameters()]
    state = method._noise.get_state()
    (values, code), (generated, z), _ = method._pairs(batch)
    method._noise.set_state(state)
    apart = method._critic(values, code).mean() - method._critic(generated, z).mean()
    error = method.reconstruction_loss(method._decoder(code), batch.values, batch.observed)
    expected = torch.autograd.grad(apart + 0.5 * error, coders)
    before = [weight.detach().clone() for weight in coders]
    method._coders_adam = torch.optim.SGD(coders, lr=1.0)  # type: ignore[assignment]
    method.learning_rate = method.final_learning_rate = 0.01
    method._update_coders(batch, 0)
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
