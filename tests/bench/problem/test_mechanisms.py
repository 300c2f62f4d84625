"""Every mechanism: its rate, its shape, nested masks, and what the masks depend on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_opening
from scipy.optimize import brentq
from scipy.special import expit

from bench.errors import BenchError
from bench.problem.missingness import MECHANISMS, Draws, Observed, mechanism_of
from tests.real import mnist_pixels

TEXTS = (*MECHANISMS, "patch:side=3", "varying:spread=0.05")
WITHOUT_PIXELS = tuple(text for text in TEXTS if not mechanism_of(text).sees_pixels)
RATES = (0.6, 0.7, 0.8, 0.9)


@pytest.fixture(scope="module")
def digits() -> Any:
    return mnist_pixels("train", 1000).numpy()


def observed(
    text: str,
    size: tuple[int, int, int],
    rate: float,
    pixels: Any = None,
    seed: int = 0,
    split: str = "train",
) -> Observed:
    mechanism = mechanism_of(text)
    return mechanism.observed(size, rate, Draws(mechanism.name, seed, split), pixels)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("text", TEXTS)
def test_the_rate_is_met_on_a_thousand_images(text: str, rate: float, digits: Any) -> None:
    if text == "varying" and rate == 0.9:
        rate = 0.88
    found = observed(text, (1000, 28, 28), rate, digits)
    assert found.shape == (1000, 1, 28, 28) and found.dtype == bool
    assert abs(1 - found.mean() - rate) < 0.005


@pytest.mark.parametrize("text", TEXTS)
def test_masks_are_nested_over_rates_and_apart_by_seed_and_split(text: str, digits: Any) -> None:
    size = (200, 28, 28)
    few, more = (observed(text, size, rate, digits[:200]) for rate in (0.85, 0.7))
    assert not (few & ~more).any() and few.sum() < more.sum()
    for other in ({"seed": 1}, {"split": "test"}):
        assert (observed(text, size, 0.7, digits[:200], **other) != more).mean() > 0.2
    assert np.array_equal(observed(text, size, 0.7, digits[:200]), more)


@pytest.mark.parametrize("text", WITHOUT_PIXELS)
def test_a_longer_set_begins_with_the_shorter(text: str) -> None:
    assert np.array_equal(observed(text, (40, 9, 13), 0.75)[:15], observed(text, (15, 9, 13), 0.75))


@given(side=st.integers(1, 9), rate=st.floats(0.05, 0.95), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_what_a_patch_mechanism_hides_is_made_of_squares(side: int, rate: float, seed: int) -> None:
    missing = ~observed(f"patch:side={side}", (4, 12, 15), rate, seed=seed)[:, 0]
    for one in missing:
        # Squares reach beyond the edge. Opening keeps just what some square of the side covers.
        padded = np.pad(one, side, mode="edge")
        opened = binary_opening(padded, np.ones((side, side)))[side:-side, side:-side]
        assert np.array_equal(opened, one)


def test_every_pixel_is_hidden_by_patches_equally_often() -> None:
    share = 1 - observed("patch:side=5", (4000, 10, 12), 0.4).mean((0, 1))
    # Neighbours go together, images do not: 4,000 of them are drawn apart.
    assert np.abs(share - 0.4).max() < 5 * np.sqrt(0.4 * 0.6 / 4000)


@given(rate=st.floats(0.05, 0.95), height=st.integers(2, 20), width=st.integers(2, 20))
@settings(max_examples=25, deadline=None)
def test_a_window_is_one_rectangle(rate: float, height: int, width: int) -> None:
    for one in observed("window", (10, height, width), rate)[:, 0]:
        rows, columns = one.any(1), one.any(0)
        assert np.array_equal(one, rows[:, None] & columns)
        for line in (rows, columns):
            assert np.abs(np.diff(np.pad(line.astype(int), 1))).sum() in (0, 2)


def test_rows_are_missing_whole() -> None:
    found = observed("rows", (300, 20, 6), 0.63)[:, 0]
    assert np.array_equal(found.any(2), found.all(2))
    assert set((~found[:, :, 0]).sum(1)) == {12, 13}
    assert np.abs(found.mean((0, 2)) - 0.37).max() < 5 * np.sqrt(0.37 * 0.63 / 300)


def test_each_image_has_a_rate_of_its_own() -> None:
    missing = 1 - observed("varying:spread=0.2", (2000, 28, 28), 0.7).mean((1, 2, 3))
    assert 0.45 < missing.min() < 0.52 and 0.88 < missing.max() < 0.95
    # Uniform from 0.5 to 0.9: the standard deviation is its width over the root of 12.
    assert missing.std() == pytest.approx(0.4 / np.sqrt(12), rel=0.05)


@pytest.mark.parametrize("slope", [5.0, -3.0])
def test_selfmask_hides_by_a_pixels_own_brightness(slope: float, digits: Any) -> None:
    """Against a root that SciPy finds, level by level."""
    missing = ~observed(f"selfmask:slope={slope}", (1000, 28, 28), 0.7, digits)
    brightness = digits / 255
    intercept = brentq(lambda b: expit(slope * brightness + b).mean() - 0.7, -60, 60)
    for low, high in ((0, 0.001), (0.3, 0.6), (0.9, 1.01)):
        within = (brightness >= low) & (brightness < high)
        expected = expit(slope * brightness[within] + intercept).mean()
        assert abs(missing[within].mean() - expected) < 5 * np.sqrt(0.25 / within.sum())


def test_mar_depends_on_what_is_always_seen_alone(digits: Any) -> None:
    colour = np.concatenate([digits, digits[::-1], 255 - digits], axis=1)[:200, :, :26, :27]
    size = (200, 26, 27)
    found = observed("mar:spacing=5", size, 0.8, colour)
    assert found[:, 0, ::5, ::5].all() and not found[:, 0, 1::5].all()
    others = colour.copy()
    others[:, :, 1::5] = 7
    others[:, :, :, 2::5] = 99
    assert np.array_equal(observed("mar:spacing=5", size, 0.8, others), found)
    seen = colour[:, :, ::5, ::5].astype(int)
    changed = colour.copy()
    changed[:, :, ::5, ::5] = np.where(seen > 127, seen // 9, 255 - seen // 9)
    assert not np.array_equal(observed("mar:spacing=5", size, 0.8, changed), found)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("patches", "unknown mechanism 'patches'; did you mean 'patch'"),
        ("patch:width=3", "unknown setting of mechanism patch 'width'"),
        ("patch:side=0", "mechanism patch: side must be at least 1, not 0"),
        ("patch:side=big", "mechanism patch: side takes a value of type int, not 'big'"),
        ("patch:3", "is not NAME:SETTING=VALUE"),
        ("selfmask:slope=nan", "slope takes a finite number"),
        ("varying:spread=0.6", "spread must be above 0 and at most 0.5"),
    ],
)
def test_what_is_no_mechanism_is_refused(text: str, fault: str) -> None:
    with pytest.raises(BenchError, match=fault):
        mechanism_of(text)


def test_impossible_rates_are_refused(digits: Any) -> None:
    with pytest.raises(BenchError, match="too near to 0 or 1"):
        observed("varying:spread=0.2", (5, 8, 8), 0.9)
    with pytest.raises(BenchError, match="always seen"):
        observed("mar:spacing=2", (5, 28, 28), 0.75, digits[:5])


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_mechanism_s_text_tells_all_its_settings_and_is_read_back(name: str) -> None:
    mechanism = mechanism_of(name)
    assert mechanism_of(mechanism.text) == mechanism
    assert mechanism.name == name and (":" in mechanism.text) == bool(vars(mechanism))
