from __future__ import annotations

import hashlib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import datasets
from bench.datasets import Dataset, load, subset
from bench.errors import BenchError


def made(count: int = 3, channels: int = 1, height: int = 4, width: int = 5, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (count, channels, height, width), dtype=np.uint8)


def test_the_fingerprint_is_the_hash_of_shapes_and_pixels() -> None:
    train, test = made(3), made(2, seed=1)
    content = b"train 3 1 4 5\n" + train.tobytes() + b"test 2 1 4 5\n" + test.tobytes()
    assert Dataset("a", train, test).fingerprint == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_the_fingerprint_follows_values_not_memory_layout() -> None:
    train, test = made(5000, 3), made(2, 3)
    last_first = np.ascontiguousarray(train.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not last_first.flags.c_contiguous
    assert Dataset("a", last_first, test).fingerprint == Dataset("b", train, test).fingerprint


def test_any_changed_pixel_and_any_regrouping_changes_the_fingerprint() -> None:
    train, test = made(4), made(2)
    changed = train.copy()
    changed[-1, -1, -1, -1] ^= 1
    both = np.concatenate([train, test])
    sets = [
        Dataset("a", train, test),
        Dataset("a", changed, test),
        Dataset("a", both[:3], both[3:]),
        Dataset("a", train.transpose(0, 1, 3, 2).reshape(4, 1, 5, 4), test.reshape(2, 1, 5, 4)),
    ]
    assert len({each.fingerprint for each in sets}) == len(sets)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"train": made().astype(np.float32)}, "float32"),
        ({"train": made()[:, 0]}, r"\(3, 4, 5\)"),
        ({"test": made(0)}, "non-empty"),
        ({"test": made(2, height=6)}, "1x4x5, test images 1x6x5"),
        ({"train": made(channels=2), "test": made(channels=2)}, "2 channels"),
        ({"train_labels": np.zeros(4, np.int64)}, r"train_labels must be int64 \(3,\)"),
        ({"test_labels": np.zeros(3, np.int32)}, "test_labels must be int64"),
    ],
)
def test_arrays_of_another_form_are_refused(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(BenchError, match=f"^mine: .*{fault}"):
        Dataset("mine", **({"train": made(), "test": made()} | arguments))


def test_a_subset_is_evenly_spaced() -> None:
    assert subset(10, 4).tolist() == [0, 2, 5, 7]
    assert subset(3, None).tolist() == [0, 1, 2]


@given(st.integers(1, 100_000), st.data())
def test_a_subset_takes_distinct_images_from_every_stretch(length: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, min(length, 2000)))
    chosen = subset(length, size)
    assert len(chosen) == size and chosen[0] == 0 and chosen[-1] < length
    gaps = np.diff([*chosen, length])
    assert gaps.min() >= length // size and gaps.max() <= -(-length // size)


@pytest.mark.parametrize("size", [0, -1, 11])
def test_a_subset_of_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(BenchError, match=f"cannot take {size} of 10 images"):
        subset(10, size)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(BenchError, match="unknown data set 'mnits'; did you mean 'mnist'"):
        load("mnits")


def register(monkeypatch: pytest.MonkeyPatch, **entries: str) -> None:
    points = [EntryPoint(name, value, datasets.GROUP) for name, value in entries.items()]
    monkeypatch.setattr(datasets, "entry_points", lambda group: points if group == datasets.GROUP else [])


def plugin(data_dir: Path | None) -> Dataset:
    return Dataset(str(data_dir), made(), made())


def broken(data_dir: Path | None) -> Dataset:
    raise KeyError("no such\nthing")


def careless(data_dir: Path | None) -> str:
    return "no data set"


def test_a_plugins_data_set_is_read_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    register(monkeypatch, mine=f"{__name__}:plugin")
    assert load("mine", tmp_path).name == str(tmp_path)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (f"{__name__}:broken", r"fails with KeyError: 'no such\\nthing'"),
        (f"{__name__}:careless", "gives str; return a bench.datasets.Dataset"),
        ("not_installed_anywhere:load", "fails with ModuleNotFoundError"),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_error(
    monkeypatch: pytest.MonkeyPatch, value: str, fault: str
) -> None:
    register(monkeypatch, mine=value)
    with pytest.raises(BenchError, match=f"data set 'mine' .*{fault}"):
        load("mine")


def test_a_name_used_twice_is_refused_with_both_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, mnist="other.package:load")
    with pytest.raises(BenchError, match=r"'mnist': bench.datasets.mnist and other.package:load"):
        datasets.registered()
