from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.datasets import load, mnist
from bench.errors import BenchError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The four files, gzipped, in a folder of the user's."""
    return Path(shutil.copytree(mnist.PACKAGED, tmp_path / "files"))


def test_the_packages_files_hold_the_published_counts_and_mean() -> None:
    dataset = load("mnist")
    assert dataset.official
    assert dataset.train.shape == (60_000, 1, 28, 28)
    assert dataset.test.shape == (10_000, 1, 28, 28)
    assert dataset.train_labels is not None and dataset.test_labels is not None
    assert np.bincount(dataset.train_labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert np.bincount(dataset.test_labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert dataset.train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert dataset.train.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    assert dataset.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


@pytest.mark.parametrize("subfolder", ["", "mnist", "MNIST/raw"])
def test_plain_and_gzipped_files_of_the_users_are_read(
    folder: Path, tmp_path: Path, subfolder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "data" / subfolder
    place.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(place)
    packed = place / "t10k-labels-idx1-ubyte.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert mnist.locate(tmp_path / "data") == place
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    assert mnist.locate() == place
    dataset = load("mnist")
    assert dataset.test_labels is not None
    assert dataset.test_labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_a_folder_without_any_of_the_files_leaves_the_packages(tmp_path: Path) -> None:
    assert mnist.locate(tmp_path) == mnist.PACKAGED


def test_a_set_that_is_partly_there_is_refused(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(BenchError, match=r"t10k-images-idx3-ubyte.gz is missing; download it again"):
        load("mnist", folder)


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def alter(content: bytes) -> bytes:
    plain = bytearray(gzip.decompress(content))
    plain[5000] ^= 1
    return gzip.compress(bytes(plain), 1)


def shorten(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content)[:-1], 1)


@pytest.mark.parametrize("damage", [truncate, alter, shorten, lambda content: b"", lambda content: b"<html>"])
def test_a_damaged_file_is_named_with_the_remedy(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BenchError) as caught:
        load("mnist", folder)
    message = str(caught.value)
    assert message.startswith(str(path)) and "download it again" in message and "\n" not in message


def test_a_data_folder_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match=r"--data-dir .*nowhere is not a folder"):
        load("mnist", tmp_path / "nowhere")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(BenchError, match=r"BENCH_DATA .*nowhere is not a folder"):
        load("mnist")
