"""RMSE against cases computed by hand and a loop over pixels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.errors import Unavailable
from bench.metrics import Scoring
from bench.metrics.rmse import rmse, score, squared_errors


def case(seed: int, count: int, channels: int) -> tuple[NDArray, NDArray, NDArray]:  # type: ignore[type-arg]
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 256, (count, channels, 3, 4), dtype=np.uint8)
    imputed = generator.normal(0.5, 0.6, truth.shape).astype(np.float32)
    observed = generator.random((count, 1, 3, 4)) < 0.4
    observed[0, 0, 0, 0] = False
    return truth, imputed, observed


def by_loop(truth: NDArray, imputed: NDArray, observed: NDArray) -> float:  # type: ignore[type-arg]
    squares = []
    for n, c, h, w in np.ndindex(truth.shape):
        if not observed[n, 0, h, w]:
            guess = min(1.0, max(0.0, float(imputed[n, c, h, w])))
            squares.append((guess - int(truth[n, c, h, w]) / 255) ** 2)
    return math.sqrt(math.fsum(squares) / len(squares))


def test_by_hand() -> None:
    """Errors 0.2 and -0.4 on the two missing pixels: sqrt((0.04 + 0.16) / 2). The third is observed."""
    truth = np.array([51, 204, 0], np.uint8).reshape(1, 1, 1, 3)
    imputed = np.array([0.4, 0.4, 1.0], np.float32).reshape(1, 1, 1, 3)
    observed = np.array([False, False, True]).reshape(1, 1, 1, 3)
    assert rmse(*squared_errors(truth, imputed, observed)) == pytest.approx(math.sqrt(0.1), abs=1e-7)


def test_output_is_clipped() -> None:
    """7 counts as 1 and -3 as 0, which are right here."""
    truth = np.array([255, 0], np.uint8).reshape(1, 1, 1, 2)
    imputed = np.array([7.0, -3.0], np.float32).reshape(1, 1, 1, 2)
    sums, missing = squared_errors(truth, imputed, np.zeros((1, 1, 1, 2), bool))
    assert rmse(sums, missing) == 0


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([1, 3]))
def test_agrees_with_a_loop_over_pixels(seed: int, count: int, channels: int) -> None:
    truth, imputed, observed = case(seed, count, channels)
    sums, missing = squared_errors(truth, imputed, observed)
    assert rmse(sums, missing) == pytest.approx(by_loop(truth, imputed, observed), rel=1e-9)
    assert missing.sum() == channels * (~observed).sum()


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_observed_pixels_do_not_count(seed: int) -> None:
    truth, imputed, observed = case(seed, 4, 3)
    changed = np.where(observed, 1 - imputed, imputed)
    assert np.array_equal(
        squared_errors(truth, imputed, observed)[0], squared_errors(truth, changed, observed)[0]
    )


def test_chunks_do_not_show() -> None:
    truth, imputed, observed = case(3, 1500, 1)
    whole = squared_errors(truth, imputed, observed)[0]
    parts = [
        squared_errors(truth[i : i + 1], imputed[i : i + 1], observed[i : i + 1])[0] for i in range(1500)
    ]
    assert np.allclose(whole, np.concatenate(parts), rtol=1e-12)


def test_nothing_missing_is_no_number() -> None:
    truth, imputed, observed = case(0, 2, 1)
    with pytest.raises(Unavailable, match="no test pixel is missing"):
        score(Scoring(truth, imputed, np.ones_like(observed), None, truth, "sha256:0", "mnist"))


def test_interval_covers_the_value_and_narrows_with_more_images() -> None:
    widths = []
    for count in (50, 800):
        truth, imputed, observed = case(9, count, 1)
        found = score(Scoring(truth, imputed, observed, None, truth, "sha256:0", "mnist"))
        assert found["low"] < found["value"] < found["high"]
        widths.append(found["high"] - found["low"])
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)
