from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from bench.datasets import load
from bench.datasets.decoded import cached_dataset
from bench.errors import BenchError
from tests.bench.datasets.conftest import save
from tests.strange_files import within

SIDES = st.integers(4, 8)


def images(count: int = 4, height: int = 5, width: int = 6) -> Any:
    return np.random.default_rng(count).integers(0, 256, (count, height, width), dtype=np.uint8)


@st.composite
def sets(draw: st.DrawFn) -> tuple[Any, Any]:
    """Train and test, uint8 (N, C, H, W)."""
    size = (draw(st.sampled_from([1, 3])), draw(SIDES), draw(SIDES))
    train, test = (draw(arrays.arrays(np.uint8, (draw(st.integers(1, 4)), *size))) for _ in range(2))
    return train, test


@settings(max_examples=60)
@given(sets(), st.sampled_from(["first", "last", "none"]), st.sampled_from([None, "f2", "f4", "f8", ">f4"]))
def test_an_npz_comes_back_as_it_was_saved(pair: tuple[Any, Any], layout: str, dtype: str | None) -> None:
    saved = []
    for pixels in pair:
        stored = pixels if dtype is None else (pixels / 255).astype(dtype)
        if layout == "last":
            stored = stored.transpose(0, 2, 3, 1)
        if layout == "none" and pixels.shape[1] == 1:
            stored = stored[:, 0]
        saved.append(stored)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.npz"
        labels = np.arange(len(pair[0]), dtype=np.uint8)
        np.savez_compressed(path, train=saved[0], test=saved[1], train_labels=labels)
        dataset = load(str(path))
    assert dataset.name == str(path) and not dataset.official
    np.testing.assert_array_equal(dataset.train, pair[0])
    np.testing.assert_array_equal(dataset.test, pair[1])
    assert dataset.train_labels is not None and dataset.train_labels.dtype == np.int64
    assert dataset.train_labels.tolist() == labels.tolist() and dataset.test_labels is None


def test_floats_are_rounded_to_the_nearest_level(tmp_path: Path) -> None:
    train = np.array([0, 0.49, 0.51, 127.4, 254.49, 255, 1, 2, 3]).reshape(1, 3, 3, order="C") / 255
    np.savez(tmp_path / "a.npz", train=train, test=train)
    assert load(str(tmp_path / "a.npz")).train.ravel().tolist() == [0, 0, 1, 127, 254, 255, 1, 2, 3]


def with_value(value: float) -> Any:
    pixels = np.full((4, 5, 6), 0.5, np.float32)
    pixels[2, 3, 4] = value
    return pixels


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"test": None}, "no array 'test'"),
        ({"train": None}, "no array 'train'"),
        ({"test": images(2, 5, 7)}, "train images are 1x5x6, test images 1x5x7"),
        ({"train": images().astype(np.int32)}, "train is int32; give uint8"),
        ({"train": images() > 5}, "train is bool"),
        ({"test": with_value(np.nan)}, "test holds NaN"),
        ({"test": with_value(np.inf)}, "test runs from 0.5 to inf"),
        ({"test": with_value(-0.01)}, "test runs from -0.01 to 0.5"),
        ({"test": with_value(1.01)}, "test runs from 0.5 to 1.01"),
        ({"train": images(0)}, "train is empty"),
        ({"train": np.zeros((0, 5, 6))}, "train is empty"),
        ({"train": images()[0]}, r"train has shape \(5, 6\)"),
        ({"train": np.zeros((4, 5, 6, 2), np.uint8)}, "without 1 or 3 channels"),
        ({"train": np.zeros((4, 4, 5, 6), np.uint8)}, "without 1 or 3 channels"),
        ({"train": np.zeros((4, 3, 5, 3), np.uint8)}, "channels may come first or last"),
        ({"train_labels": np.zeros(3, int)}, r"train_labels must be int64 \(4,\)"),
        ({"test_labels": np.zeros(4)}, "test_labels is float64"),
        ({"test_labels": np.array([0, 1, -1, 0])}, "test_labels holds -1"),
        ({"train": np.array([{}], dtype=object)}, "holds Python objects"),
    ],
)
def test_an_unfit_npz_is_refused(tmp_path: Path, content: dict[str, Any], fault: str) -> None:
    path = tmp_path / "mine.npz"
    full = {"train": images(), "test": images()} | content
    np.savez(path, **{name: array for name, array in full.items() if array is not None})
    with pytest.raises(BenchError, match=rf"^{path}.*{fault}") as caught:
        load(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 10, 300, -30])
def test_a_truncated_npz_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, train=images(), test=images())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BenchError, match=rf"^{path}"):
        load(str(path))


def test_an_altered_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, train=images(), test=images())
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(BenchError, match=rf"^{path} is truncated or damaged"):
        load(str(path))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"gone.npz does not exist"):
        load(str(tmp_path / "gone.npz"))
    np.save(tmp_path / "bare.npy", images())
    with pytest.raises(BenchError, match=r"bare.npy is neither"):
        load(str(tmp_path / "bare.npy"))
    (tmp_path / "bare.npy").rename(tmp_path / "bare.npz")
    with pytest.raises(BenchError, match=r"bare.npz holds one bare array"):
        load(str(tmp_path / "bare.npz"))


def write(folder: Path, pixels: Any, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, pixels, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / name)


def test_a_flat_folder_is_split_by_name(tmp_path: Path) -> None:
    pixels = images(5)
    write(tmp_path / "mine", pixels, ["c.png", "a.png", "e.png", "b.png", "d.png"])
    (tmp_path / "mine" / "notes.txt").write_text("not an image")
    (tmp_path / "mine" / ".hidden.png").write_text("not an image")
    dataset = load(str(tmp_path / "mine"))
    np.testing.assert_array_equal(dataset.train[:, 0], pixels[[1, 3, 0, 4]])
    np.testing.assert_array_equal(dataset.test[:, 0], pixels[[2]])
    assert dataset.train_labels is None and not dataset.official


def test_colour_images_in_class_folders(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    for part in ("train", "test"):
        write(tmp_path / "mine" / part, pixels, ["dog/1.png", "cat/2.png", "dog/0.png", "cat/1.PNG"])
    dataset = load(str(tmp_path / "mine"))
    np.testing.assert_array_equal(dataset.test, pixels[[3, 1, 2, 0]].transpose(0, 3, 1, 2))
    assert dataset.test_labels is not None and dataset.test_labels.tolist() == [0, 0, 1, 1]


def test_train_and_test_without_classes(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "train", images(2), ["0.png", "1.png"])
    write(tmp_path / "mine" / "test", images(1), ["0.png"])
    dataset = load(str(tmp_path / "mine"))
    np.testing.assert_array_equal(dataset.train[:, 0], images(2))
    np.testing.assert_array_equal(dataset.test[:, 0], images(1))
    assert dataset.train_labels is None


UPRIGHT: dict[int, Any] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: stored[::-1, ::-1],
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].T,
    8: np.rot90,
}
"""What is seen of the stored rows, by EXIF orientation (EXIF 2.32, tag 0x0112)."""


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_an_image_is_turned_as_its_exif_says(tmp_path: Path, orientation: int, suffix: str) -> None:
    folder, plain = tmp_path / "mine", tmp_path / "plain"
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name, stored in zip("abcde", images(5), strict=True):
        for target, tags in ((folder, exif), (plain, Image.Exif())):
            target.mkdir(exist_ok=True)
            Image.fromarray(stored).save((target / name).with_suffix(suffix), exif=tags)
    # JPEG changes the pixels, so those stored are taken from the files without a tag.
    seen, stored_pixels = load(str(folder)), load(str(plain))
    for found, kept in ((seen.train, stored_pixels.train), (seen.test, stored_pixels.test)):
        np.testing.assert_array_equal(found[:, 0], [UPRIGHT[orientation](image[0]) for image in kept])


@pytest.mark.parametrize("in_place", [True, False])
def test_other_pixels_under_the_same_path_size_and_time_are_read(tmp_path: Path, in_place: bool) -> None:
    """As rsync and `cp -p` put them there, one over the old file and one beside it and renamed."""
    for part in ("train", "test"):
        write(tmp_path / "pics" / part, np.full((2, 8, 8), 10, np.uint8), ["a.png", "b.png"])
    assert load(str(tmp_path / "pics")).test.max() == 10
    write(tmp_path, np.full((1, 8, 8), 20, np.uint8), ["new.png"])
    old, new = tmp_path / "pics" / "test" / "b.png", tmp_path / "new.png"
    before = old.stat()
    assert before.st_size == new.stat().st_size
    if in_place:
        old.write_bytes(new.read_bytes())
    else:
        new.rename(old)
    os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load(str(tmp_path / "pics")).test[:, 0, 0, 0].tolist() == [10, 20]


def test_a_copy_that_was_decoded_sideways_is_not_served(tmp_path: Path) -> None:
    """Earlier versions decoded the images as they are stored, and kept that under this recipe."""
    folder = tmp_path / "mine"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [folder / "a.png", folder / "b.png"]
    for file, stored in zip(files, images(2), strict=True):
        Image.fromarray(stored).save(file, exif=exif)

    def sideways(target: Path) -> None:
        np.save(target / "train.npy", images(2)[:1, None])
        np.save(target / "test.npy", images(2)[1:, None])

    cached_dataset(str(folder), "as they are", files, sideways)
    np.testing.assert_array_equal(load(str(folder)).test[0, 0], np.rot90(images(2)[1], -1))


def test_an_image_with_damaged_exif_is_read_as_it_is_stored(tmp_path: Path) -> None:
    write(tmp_path / "mine", images(2), ["a.png", "b.png"])
    Image.fromarray(images(2)[1]).save(tmp_path / "mine" / "b.png", exif=b"Exif\0\0no TIFF header here")
    np.testing.assert_array_equal(load(str(tmp_path / "mine")).test[0, 0], images(2)[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of grey images."""
    for part in ("train", "test"):
        write(tmp_path / "mine" / part, images(4), ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"])
    return tmp_path / "mine"


def corrupt(folder: Path) -> str:
    path = folder / "test/dog/1.png"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    return "test/dog/1.png is not a complete image"


def corrupt_first(folder: Path) -> str:
    (folder / "train/cat/0.png").write_bytes(b"")
    return "train/cat/0.png is not a complete image"


def other_size(folder: Path) -> str:
    save(folder / "test/cat/1.png", 6, 6, channels=1)
    return "test/cat/1.png is L 6x6, the first image L 6x5"


def other_kind(folder: Path) -> str:
    save(folder / "test/cat/1.png", 6, 5)
    return "test/cat/1.png is RGB 6x5, the first image L 6x5"


def transparent(folder: Path) -> str:
    Image.new("RGBA", (6, 5)).save(folder / "train/cat/0.png")
    return "train/cat/0.png has mode RGBA; convert"


def sixteen_bits(folder: Path) -> str:
    Image.fromarray(np.zeros((5, 6), np.uint16)).save(folder / "train/cat/0.png")
    return "train/cat/0.png has mode I;16; convert"


def one_class_missing(folder: Path) -> str:
    shutil.rmtree(folder / "test/cat")
    return "class folder 'cat' is not in both"


def empty_class(folder: Path) -> str:
    (folder / "test/bird").mkdir()
    return "test/bird holds no .png or .jpg images"


def empty_part(folder: Path) -> str:
    shutil.rmtree(folder / "train")
    (folder / "train").mkdir()
    return "train holds no .png or .jpg images"


def no_test(folder: Path) -> str:
    shutil.rmtree(folder / "test")
    return "test is missing; give both"


def mixed(folder: Path) -> str:
    save(folder / "train/0.png", 6, 5)
    return "train holds images beside class folders"


def empty(folder: Path) -> str:
    shutil.rmtree(folder)
    folder.mkdir()
    return "mine holds 0 .png or .jpg images; give at least 2"


def single(folder: Path) -> str:
    shutil.rmtree(folder)
    save(folder / "0.png", 6, 5)
    return "mine holds 1 .png or .jpg image; give at least 2"


@pytest.mark.parametrize(
    "spoil",
    [
        single,
        corrupt,
        corrupt_first,
        other_size,
        other_kind,
        transparent,
        sixteen_bits,
        one_class_missing,
        empty_class,
        empty_part,
        no_test,
        mixed,
        empty,
    ],
)
def test_an_unfit_folder_is_refused(folder: Path, spoil: Any) -> None:
    assert load(str(folder)).train_labels is not None
    fault = spoil(folder)
    with pytest.raises(BenchError) as caught:
        load(str(folder))
    assert fault in str(caught.value) and "\n" not in str(caught.value)


def test_a_pipe_among_the_images_is_refused_at_once(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "pics" / f"{number}.png", seed=number)
    os.mkfifo(tmp_path / "pics" / "4.png")
    with within(20), pytest.raises(BenchError, match=r"4\.png is not a complete image"):
        load(str(tmp_path / "pics"))
