from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.classifiers.vision import load as load_module
from bench.datasets import cifar10, decoded, load
from bench.datasets.cifar10 import ARCHIVE, BATCH_FILES, BATCHES, CLASSES
from bench.errors import BenchError
from tests.bench.datasets.conftest import EACH, save

PER_BATCH = 6


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with batches in the official format, and torchvision's checksums set to match them."""
    folder = tmp_path / "data" / BATCHES
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    checksums = []
    for name in BATCH_FILES:
        batch = {
            "data": random.integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8),
            "labels": random.integers(0, 10, PER_BATCH).tolist(),
        }
        checksums.append([name, write(folder / name, pickle.dumps(batch, protocol=2))])
    meta = write(folder / "batches.meta", pickle.dumps({"label_names": list(CLASSES)}))
    reference = torchvision_class()
    monkeypatch.setattr(reference, "train_list", checksums[:5])
    monkeypatch.setattr(reference, "test_list", checksums[5:])
    monkeypatch.setattr(reference, "meta", reference.meta | {"md5": meta})
    return tmp_path / "data"


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return hashlib.md5(content).hexdigest()


def torchvision_class() -> Any:
    return load_module("torchvision.datasets").CIFAR10


def pack(data: Path) -> Path:
    """The batches as the archive, the folder gone."""
    with tarfile.open(data / ARCHIVE, "w:gz") as archive:
        archive.add(data / BATCHES, BATCHES)
        escape = tarfile.TarInfo("../escaped")
        escape.size = 4
        archive.addfile(escape, io.BytesIO(b"evil"))
    for path in (data / BATCHES).iterdir():
        path.unlink()
    (data / BATCHES).rmdir()
    return data / ARCHIVE


def test_batches_are_read_as_torchvision_reads_them(official: Path) -> None:
    dataset = load("cifar10", official)
    assert dataset.official and dataset.train.shape == (5 * PER_BATCH, 3, 32, 32)
    for train, pixels, labels in (
        (True, dataset.train, dataset.train_labels),
        (False, dataset.test, dataset.test_labels),
    ):
        reference = torchvision_class()(official, train=train)
        np.testing.assert_array_equal(pixels.transpose(0, 2, 3, 1), reference.data)
        np.testing.assert_array_equal(labels, reference.targets)


def test_the_archive_gives_the_same_and_leaves_nothing_outside(official: Path, cache: Path) -> None:
    unpacked = load("cifar10", official).fingerprint
    archive = pack(official)
    dataset = load("cifar10", official)
    assert dataset.official and dataset.fingerprint == unpacked
    assert sorted(official.iterdir()) == [archive]
    assert not list(official.parent.rglob("escaped"))


def test_no_pickle_is_opened_before_its_checksum_matched(official: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    (official / BATCHES / "data_batch_3").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BenchError, match="data_batch_3 is altered"):
        load("cifar10", official)
    assert not (tmp_path / "sprung").exists()
    pickle.loads((official / BATCHES / "data_batch_3").read_bytes())
    assert (tmp_path / "sprung").exists()


def test_a_missing_batch_is_named(official: Path) -> None:
    (official / BATCHES / "data_batch_5").unlink()
    with pytest.raises(BenchError, match=r"data_batch_5 is missing; unpack"):
        load("cifar10", official)


def test_an_archive_without_a_batch_is_refused(official: Path) -> None:
    (official / BATCHES / "data_batch_5").unlink()
    pack(official)
    with pytest.raises(BenchError, match=f"{ARCHIVE} lacks data_batch_5"):
        load("cifar10", official)


def test_half_an_archive_is_refused(official: Path) -> None:
    archive = pack(official)
    archive.write_bytes(archive.read_bytes()[:20_000])
    with pytest.raises(BenchError, match=f"{ARCHIVE} is truncated"):
        load("cifar10", official)


def test_class_folders_are_labelled_in_the_official_order(cifar10_folder: Path) -> None:
    dataset = load("cifar10", cifar10_folder)
    assert not dataset.official
    assert dataset.train.shape == dataset.test.shape == (10 * EACH, 3, 32, 32)
    assert dataset.train_labels is not None and dataset.test_labels is not None
    # "frog" is 6 and "truck" 9 in the official batches.meta.
    assert dataset.train_labels.tolist() == np.repeat(np.arange(10), EACH).tolist()
    for part, label, name in ((dataset.train, 6, "train/frog"), (dataset.test, 9, "test/truck")):
        for number in range(EACH):
            with Image.open(cifar10_folder / "cifar10" / name / f"{number:04d}.jpg") as image:
                expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
            np.testing.assert_array_equal(part[label * EACH + number], expected)


def test_images_are_decoded_once(cifar10_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load("cifar10", cifar10_folder)
    read = decoded.read_image
    monkeypatch.setattr(cifar10, "read_image", None)
    again = load("cifar10", cifar10_folder)
    assert isinstance(again.train, np.memmap) and not again.train.flags.writeable
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.test_labels, first.test_labels)

    monkeypatch.setattr(cifar10, "read_image", read)
    path = cifar10_folder / "cifar10/test/bird/0001.jpg"
    save(path, seed=99)
    with Image.open(path) as image:
        expected = np.asarray(image).transpose(2, 0, 1)
    np.testing.assert_array_equal(load("cifar10", cifar10_folder).test[2 * EACH + 1], expected)


def test_several_at_once_end_with_one_copy(cifar10_folder: Path, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: load("cifar10", cifar10_folder).fingerprint, range(4)))
    assert len(set(loaded)) == 1
    assert len(list((cache / "decoded").iterdir())) == 1


def damage_corrupt(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def damage_size(path: Path) -> None:
    save(path, 33, 32)


def damage_text(path: Path) -> None:
    path.write_text("no image")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (damage_corrupt, "is not a complete image"),
        (damage_text, "is not a complete image"),
        (damage_size, "is 33x32; CIFAR-10 images are 32x32"),
    ],
)
def test_an_unfit_image_is_named_and_nothing_is_kept(
    cifar10_folder: Path, cache: Path, damage: Any, fault: str
) -> None:
    path = cifar10_folder / "cifar10/test/ship/0002.jpg"
    damage(path)
    with pytest.raises(BenchError, match=f"ship/0002.jpg {fault}"):
        load("cifar10", cifar10_folder)
    assert not list((cache / "decoded").iterdir())


def test_a_missing_a_strange_and_an_empty_class_are_refused(cifar10_folder: Path) -> None:
    train = cifar10_folder / "cifar10/train"
    (train / "deer").rename(train / "moose")
    with pytest.raises(BenchError, match="deer is missing"):
        load("cifar10", cifar10_folder)
    (train / "deer").mkdir()
    with pytest.raises(BenchError, match="moose is not a class of CIFAR-10"):
        load("cifar10", cifar10_folder)
    for path in [*(train / "moose").iterdir()]:
        path.unlink()
    (train / "moose").rmdir()
    with pytest.raises(BenchError, match=r"deer holds no .png or .jpg images"):
        load("cifar10", cifar10_folder)


def test_nothing_found_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=rf"CIFAR-10 is not found; .*{ARCHIVE}.*--data-dir"):
        load("cifar10", tmp_path)


def test_a_damaged_copy_in_the_cache_is_named(cifar10_folder: Path, cache: Path) -> None:
    load("cifar10", cifar10_folder)
    (copy,) = (cache / "decoded").iterdir()
    (copy / "train.npy").chmod(0o600)
    (copy / "train.npy").write_bytes((copy / "train.npy").read_bytes()[:500])
    with pytest.raises(BenchError, match=f"{copy} holds a damaged copy of cifar10; delete"):
        load("cifar10", cifar10_folder)


def test_a_cache_that_cannot_be_written_is_named(
    cifar10_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(BenchError, match=r"decoded cannot be written .* set BENCH_CACHE"):
        load("cifar10", cifar10_folder)


def test_blocks_are_joined_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "BLOCK", 3)
    decoded.decode(
        "numbers", range(7), lambda i: np.full((1, 2, 2), i, np.uint8), (1, 2, 2), tmp_path / "a.npy"
    )
    assert np.load(tmp_path / "a.npy")[:, 0, 0, 0].tolist() == list(range(7))
