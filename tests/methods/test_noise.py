"""Noise that belongs to an image."""

import numpy as np
import torch
from scipy import stats

from bench.images import MaskedImages
from bench.methods.noise import _mix, noise_for, normal_noise_for


def some_images(count: int = 64, channels: int = 3) -> MaskedImages:
    generator = torch.Generator().manual_seed(1)
    observed = torch.rand(count, 1, 8, 8, generator=generator) < 0.3
    pixels = torch.randint(0, 256, (count, channels, 8, 8), generator=generator, dtype=torch.uint8)
    return MaskedImages(pixels * observed, observed)


def test_mixing_is_splitmix64() -> None:
    # The first outputs of SplitMix64 started at 1234567, as published with the algorithm's test vectors.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    step = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        states = np.uint64(1234567) + step * np.arange(1, 5, dtype=np.uint64)
    words = _mix(torch.from_numpy(states.view(np.int64))).numpy().view(np.uint64)
    assert words.tolist() == expected


def test_uniform_and_normal_distributions() -> None:
    images = some_images(1)
    for seed in range(3):
        uniform = noise_for(images, seed, (20_000,)).flatten().double().numpy()
        normal = normal_noise_for(images, seed, (20_000,)).flatten().double().numpy()
        assert uniform.min() >= 0 and uniform.max() < 1
        assert stats.kstest(uniform, "uniform").pvalue > 1e-3
        assert stats.kstest(normal, "norm").pvalue > 1e-3


def test_uniform_across_images_that_differ_in_one_pixel() -> None:
    observed = torch.ones(2000, 1, 4, 4, dtype=torch.bool)
    pixels = torch.zeros(2000, 1, 4, 4, dtype=torch.uint8)
    pixels.view(2000, 16)[:, 0] = torch.arange(2000) % 250
    pixels.view(2000, 16)[:, 1] = torch.arange(2000) // 250
    noise = noise_for(MaskedImages(pixels, observed), 0, (4,)).double().numpy()
    for column in noise.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(noise.T) - np.eye(4)).max() < 0.1


def test_no_trend_between_neighbouring_elements_or_seeds() -> None:
    images = some_images(1)
    noise = torch.cat([noise_for(images, seed, (5000,)) for seed in range(4)]).double().numpy()
    assert np.abs(np.corrcoef(noise) - np.eye(4)).max() < 0.07
    assert abs(np.corrcoef(noise[0, 1:], noise[0, :-1])[0, 1]) < 0.07


def test_independent_of_batching_and_order() -> None:
    images = some_images()
    whole = noise_for(images, 5, (2, 3))
    assert whole.shape == (64, 2, 3) and whole.dtype == torch.float32
    assert torch.equal(torch.cat([noise_for(part, 5, (2, 3)) for part in images.batches(7)]), whole)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(noise_for(images[order], 5, (2, 3)), whole[order])
    assert torch.equal(normal_noise_for(images[order], 5, (6,)), normal_noise_for(images, 5, (6,))[order])


def test_differs_by_seed_and_by_image() -> None:
    images = some_images()
    noise = noise_for(images, 0, (10,))
    assert len(torch.unique(noise[:, 0])) == 64
    assert (noise != noise_for(images, 1, (10,))).float().mean() > 0.99
    assert (noise != noise_for(images, -1, (10,))).float().mean() > 0.99


def test_depends_on_the_mask_but_not_on_what_lies_under_it() -> None:
    images = some_images(4)
    noise = noise_for(images, 0, (10,))
    hidden = torch.where(images.observed, images.pixels, torch.tensor(77, dtype=torch.uint8))
    assert torch.equal(noise_for(MaskedImages.trusted(hidden, images.observed), 0, (10,)), noise)
    # A black pixel that is seen is not the same as one that is missing.
    seen = MaskedImages(images.pixels, torch.ones_like(images.observed))
    assert (noise_for(seen, 0, (10,)) != noise).float().mean() > 0.9
