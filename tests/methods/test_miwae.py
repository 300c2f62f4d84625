"""MIWAE: weights, bound and imputation against numerical integration and hand-computed cases."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.miwae import MIWAE, Autoencoder, bound, posterior_mean
from bench.methods.nearest_pixel import nearest_fill
from bench.plugins.checkpoints import DiskCheckpoints
from tests.methods.adversarial import interrupted_fit, made_images
from tests.real import mnist, rmse_on_missing


def test_bound_by_hand() -> None:
    log_weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).log()
    torch.testing.assert_close(bound(log_weights), torch.tensor([2.0, 3.0]).log())


def test_posterior_mean_by_hand() -> None:
    log_weights = torch.tensor([[1.0, 1.0], [3.0, 1.0]]).log()
    means = torch.tensor([[[0.0, 1.0], [0.2, 0.4]], [[1.0, 0.0], [0.4, 0.8]]])
    torch.testing.assert_close(posterior_mean(log_weights, means), torch.tensor([[0.75, 0.25], [0.3, 0.6]]))


def test_log_weights_are_the_densities_written_out() -> None:
    torch.manual_seed(0)
    model = Autoencoder(values=5, latent=2, hidden=4, floor=0.1)
    values, observed = torch.rand(3, 5), torch.rand(3, 5) < 0.6
    values *= observed
    noise = torch.randn(4, 3, 2)
    with torch.no_grad():
        log_weights, means = model(values, observed.float(), noise)
        centre, raw = model.encoder(values).chunk(2, 1)
        deviation = (1 + raw.exp()).log() + 1e-3
        spread = (1 + model.spread.exp()).log() + 0.1
        for k in range(4):
            for n in range(3):
                code = centre[n] + deviation[n] * noise[k, n]
                decoded = torch.sigmoid(model.decoder(code))
                torch.testing.assert_close(means[k, n], decoded)
                seen = observed[n]
                expected = (
                    norm.logpdf(values[n][seen], decoded[seen], spread[seen]).sum()
                    + norm.logpdf(code).sum()
                    - norm.logpdf(code, centre[n], deviation[n]).sum()
                )
                assert float(log_weights[k, n]) == pytest.approx(float(expected), rel=1e-4, abs=1e-4)


def one_code(images: MaskedImages, samples: int) -> MIWAE:
    """An untrained model with one latent dimension, so that integrals over the code can be taken."""
    method = MIWAE(latent=1, hidden=8, impute_samples=samples, floor=0.3)
    method.context = FitContext()
    torch.manual_seed(4)
    method.model = Autoencoder(images.pixels[0].numel(), 1, 8, 0.3)
    with torch.no_grad():
        for layer in method.model.decoder:
            if isinstance(layer, nn.Linear):
                layer.weight *= 4
    return method


def test_bound_and_imputation_reach_the_integrals() -> None:
    """With many samples: log p(x_o) and E[x_m | x_o], here by summing over a fine grid of codes."""
    images = made_images((1, 3, 3), count=3)
    method = one_code(images, samples=40_000)
    grid = torch.linspace(-9, 9, 4001)[:, None]
    with torch.no_grad():
        decoded = torch.sigmoid(method.model.decoder(grid)).double().numpy()
        spread = (nn.functional.softplus(method.model.spread) + 0.3).double().numpy()
        noise = torch.randn(40_000, 3, 1, generator=torch.Generator().manual_seed(2))
        observed = images.observed.flatten(1).float()
        log_weights, _ = method.model(images.values.flatten(1), observed, noise)
    imputed = method.impute(images).flatten(1)
    for n in range(3):
        seen = images.observed[n].flatten().numpy()
        x = images.values[n].flatten().double().numpy()
        joint = norm.logpdf(x[seen], decoded[:, seen], spread[seen]).sum(1) + norm.logpdf(grid[:, 0])
        density = np.exp(joint)
        assert float(bound(log_weights)[n]) == pytest.approx(math.log(density.sum() * 18 / 4000), abs=0.05)
        expected = (density[:, None] * decoded).sum(0) / density.sum()
        np.testing.assert_allclose(imputed[n].numpy()[~seen], expected[~seen], atol=0.02)


def test_missing_pixels_have_no_say() -> None:
    images = made_images((1, 3, 3), count=6)
    method = one_code(images, samples=3)
    noise = torch.randn(3, 6, 1, generator=torch.Generator().manual_seed(2))
    seen = images.observed.flatten(1)
    log_weights, _ = method.model(images.values.flatten(1), seen.float(), noise)
    last = method.model.decoder[-1]
    assert isinstance(last, torch.nn.Linear)
    for n in range(6):
        # A pixel's bias moves its density alone, so it is felt where the density counts.
        (gradient,) = torch.autograd.grad(log_weights[:, n].sum(), last.bias, retain_graph=True)
        assert (gradient[~seen[n]] == 0).all() and (gradient[seen[n]] != 0).all()


def test_a_stopped_fit_goes_on_to_the_same_model(tmp_path: Path) -> None:
    images = made_images((1, 8, 8))
    settings = {"hidden": 8, "samples": 2, "impute_samples": 3, "epochs": 3, "batch_size": 8}
    whole, part, again = (MIWAE(**settings) for _ in range(3))
    whole.fit(images, FitContext())
    interrupted_fit(part, images, tmp_path, steps=5)
    again.fit(images, FitContext(checkpoints=DiskCheckpoints(tmp_path)))
    assert torch.equal(again.impute(images), whole.impute(images))


def test_a_few_steps_on_real_digits_beat_the_start() -> None:
    _, train = mnist("train", 2000, rate=0.8)
    truth, test = mnist("t10k", 100, rate=0.8)
    start = rmse_on_missing(truth, test, nearest_fill(test, seed=0).float() / 255)
    method = MIWAE(hidden=128, latent=8, samples=3, impute_samples=10, epochs=12, learning_rate=3e-3)
    method.fit(train, FitContext())
    assert rmse_on_missing(truth, test, method.impute(test)) < 0.98 * start
