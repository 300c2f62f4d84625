"""Masks: the rate, independence, and the same on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.problem.missingness import Draws, Observed, Pixel
from bench.problem.posing import Problem


def pixel(count: int, height: int, width: int, rate: float, seed: int, split: str) -> Observed:
    return Pixel().observed((count, height, width), rate, Draws("pixel", seed, split), None)


@given(rate=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_rate_is_met_within_chance(rate: float, seed: int) -> None:
    observed = pixel(50, 28, 28, rate, seed, "train")
    missing = 1 - observed.mean()
    assert abs(missing - rate) < 5 * np.sqrt(rate * (1 - rate) / observed.size)


def test_pixels_are_independent_of_their_neighbours() -> None:
    observed = pixel(200, 28, 28, 0.5, 0, "test").astype(float) - 0.5
    for first, second in (
        (observed[..., 1:], observed[..., :-1]),
        (observed[..., 1:, :], observed[..., :-1, :]),
        (observed[1:], observed[:-1]),
    ):
        assert abs((first * second).mean() * 4) < 5 / np.sqrt(first.size)


def test_seeds_and_splits_are_drawn_apart_and_rates_are_nested() -> None:
    base = pixel(20, 28, 28, 0.8, 0, "train")
    for other in (pixel(20, 28, 28, 0.8, 1, "train"), pixel(20, 28, 28, 0.8, 0, "test")):
        agreement = (base == other).mean()
        assert agreement == pytest.approx(0.8**2 + 0.2**2, abs=0.02)
    assert not (pixel(20, 28, 28, 0.9, 0, "train") & ~base).any()


def test_rates_next_to_all_and_none_can_be_drawn() -> None:
    assert not pixel(5, 8, 8, 1 - 1e-11, 0, "train").any()
    assert pixel(5, 8, 8, 1e-11, 0, "train").all()


def test_a_longer_set_begins_with_the_shorter() -> None:
    assert np.array_equal(pixel(30, 7, 5, 0.7, 3, "train")[:10], pixel(10, 7, 5, 0.7, 3, "train"))


def test_the_masks_are_the_same_on_every_machine() -> None:
    """Philox-4x64-10 by hand (Salmon et al., 2011), on the key that the seed gives."""
    key = np.frombuffer(hashlib.sha256(b"bench/pixel/train/7").digest()[:16], dtype="<u8")
    words: list[int] = []
    for counter in range(1, 3):
        for word in philox([counter, 0, 0, 0], [int(part) for part in key]):
            words += [word & 0xFFFFFFFF, word >> 32]
    expected = [word >= round(0.6 * 2**32) for word in words]
    assert pixel(1, 4, 4, 0.6, 7, "train").ravel().tolist() == expected


def philox(counter: list[int], key: list[int]) -> list[int]:
    low = (1 << 64) - 1
    for _ in range(10):
        first, second = counter[0] * 0xD2E7470EE14C6C93, counter[2] * 0xCA5A826395121157
        counter = [
            (second >> 64) ^ counter[1] ^ key[0],
            second & low,
            (first >> 64) ^ counter[3] ^ key[1],
            first & low,
        ]
        key = [(key[0] + 0x9E3779B97F4A7C15) & low, (key[1] + 0xBB67AE8584CAA73B) & low]
    return counter


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan")])
def test_impossible_rates_are_refused_by_name(rate: float) -> None:
    with pytest.raises(BenchError, match=r"rate .* is not in \(0, 1\)"):
        Problem("mnist", rate=rate)
