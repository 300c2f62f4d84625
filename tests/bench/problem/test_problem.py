"""Posing: what the method gets, what the scorer gets, and that neither changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError
from bench.grid.grid import Grid
from bench.problem.posing import Problem, load, open_incomplete, pose


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Ten training and six test images with no zero among their values."""
    generator = np.random.default_rng(0)
    path = tmp_path / "own.npz"
    np.savez(
        path,
        train=generator.integers(1, 256, (10, 3, 8, 6), dtype=np.uint8),
        test=generator.integers(1, 256, (6, 3, 8, 6), dtype=np.uint8),
        train_labels=np.arange(10),
        test_labels=np.arange(6),
    )
    return path


def test_missing_pixels_are_zero_in_all_channels_and_observed_ones_true(archive: Path) -> None:
    posed = pose(Problem(str(archive), rate=0.7))
    arrays = np.load(archive)
    for split in ("train", "test"):
        pixels, observed = open_incomplete(posed.incomplete, split)
        assert np.array_equal(pixels, np.where(observed, arrays[split], 0))
        assert np.array_equal(pixels != 0, np.broadcast_to(observed, pixels.shape))
    assert np.array_equal(posed.truth, arrays["test"])
    assert np.array_equal(posed.train_truth, arrays["train"])
    assert posed.labels is not None and np.array_equal(posed.labels, np.arange(6))


def test_the_method_s_folder_holds_nothing_complete(archive: Path) -> None:
    posed = pose(Problem(str(archive), rate=0.7))
    names = sorted(path.name for path in posed.incomplete.iterdir())
    assert names == [
        "facts.json",
        "hashes.json",
        "test-observed.npy",
        "test-pixels.npy",
        "train-observed.npy",
        "train-pixels.npy",
    ]
    assert posed.complete not in posed.incomplete.parents and posed.incomplete not in posed.complete.parents


def test_posing_twice_gives_the_same_and_another_seed_other_masks(archive: Path) -> None:
    first, again = pose(Problem(str(archive))), pose(Problem(str(archive)))
    other = pose(Problem(str(archive), seed=1))
    assert first.facts == again.facts
    assert first.facts["fingerprint"] == other.facts["fingerprint"]
    assert first.facts["observed"] != other.facts["observed"]


def test_a_smaller_problem_takes_evenly_spaced_images(archive: Path) -> None:
    posed = pose(Problem(str(archive), train=5, test=3))
    assert np.array_equal(posed.train_truth, np.load(archive)["train"][::2])
    assert posed.labels is not None and posed.labels.tolist() == [0, 2, 4]


def test_the_same_pixels_with_other_labels_are_another_problem(archive: Path) -> None:
    pose(Problem(str(archive)))
    arrays = dict(np.load(archive))
    np.savez(archive, **arrays | {"test_labels": np.arange(6)[::-1].copy()})
    load.cache_clear()  # As another process would, read the file anew.
    labels = pose(Problem(str(archive))).labels
    assert labels is not None and labels.tolist() == [5, 4, 3, 2, 1, 0]


def test_too_many_images_are_refused_unless_a_preset_asks(archive: Path) -> None:
    with pytest.raises(BenchError, match="has 10 train images; 11 were asked for"):
        pose(Problem(str(archive), train=11))
    posed = pose(Problem(str(archive), train=11, test=3, strict=()))
    assert (posed.facts["train"], posed.facts["test"]) == (10, 3)


def test_only_a_size_given_by_hand_is_enforced(archive: Path) -> None:
    """10 training and 6 test images; the preset smoke asks for 1,000 and 600."""
    grid = Grid(["mean"], [str(archive)], rates=[0.5], seeds=[0], preset="smoke")
    (cell,) = replace(grid, train=5).cells()
    posed = pose(cell.problem)
    assert (posed.facts["train"], posed.facts["test"]) == (5, 6)
    (cell,) = replace(grid, test=7).cells()
    with pytest.raises(BenchError, match="has 6 test images; 7 were asked for"):
        pose(cell.problem)


@pytest.mark.parametrize("name", ["complete/test.npy", "complete/train.npy", "incomplete/test-observed.npy"])
def test_a_torn_copy_is_posed_again(archive: Path, name: str) -> None:
    posed = pose(Problem(str(archive)))
    kind, _, file = name.partition("/")
    torn = (posed.complete if kind == "complete" else posed.incomplete) / file
    whole = torn.read_bytes()
    torn.chmod(0o600)
    torn.write_bytes(whole[:-5])
    pose(Problem(str(archive)))
    assert torn.read_bytes() == whole


ARRAYS = ["complete/test.npy", "complete/train.npy", "complete/test-labels.npy"] + [
    f"incomplete/{split}-{kind}.npy" for split in ("train", "test") for kind in ("pixels", "observed")
]


@pytest.mark.parametrize("name", [*ARRAYS, "incomplete/facts.json", "complete/hashes.json"])
def test_a_bit_that_was_changed_in_the_cache_is_noticed(archive: Path, name: str) -> None:
    """The file is as long as before, and can be read."""
    posed = pose(Problem(str(archive)))
    kind, _, file = name.partition("/")
    damaged = (posed.complete if kind == "complete" else posed.incomplete) / file
    whole = damaged.read_bytes()
    content = bytearray(whole)
    content[-4] ^= 1
    damaged.chmod(0o600)
    damaged.write_bytes(content)
    again = pose(Problem(str(archive)))
    assert damaged.read_bytes() == whole and again.facts == posed.facts


def test_nobody_may_write_to_what_is_posed(archive: Path) -> None:
    posed = pose(Problem(str(archive)))
    files = [*posed.complete.iterdir(), *posed.incomplete.iterdir()]
    assert len(files) >= 9 and not any(path.stat().st_mode & 0o222 for path in files)


@pytest.mark.parametrize(
    ("channels", "width", "imputer_width", "residual"), [(1, 256, 784, False), (3, 128, 1024, True)]
)
def test_own_images_take_the_settings_for_their_kind(
    tmp_path: Path, channels: int, width: int, imputer_width: int, residual: bool
) -> None:
    """A method names data sets; one that it cannot know is grey, as MNIST, or in colour, as CIFAR-10."""
    pixels = np.zeros((4, channels, 8, 8), np.uint8)
    np.savez(tmp_path / "own.npz", train=pixels, test=pixels)
    (cell,) = Grid(["prflow"], [str(tmp_path / "own.npz")], rates=[0.5], seeds=[0], preset="quick").cells()
    found = {name: cell.settings[name] for name in ("hidden", "imputer_width", "residual")}
    assert found == {"hidden": width, "imputer_width": imputer_width, "residual": residual}
