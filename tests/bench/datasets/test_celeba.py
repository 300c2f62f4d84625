from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.classifiers.vision import load as load_module
from bench.datasets import celeba, load
from bench.errors import BenchError
from tests.bench.datasets.conftest import save


def frame(width: int, height: int, side: int) -> Image.Image:
    """Blue, with a red square of `side` in the middle."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 2] = 255
    left, top = (width - side) // 2, (height - side) // 2
    pixels[top : top + side, left : left + side] = (255, 0, 0)
    return Image.fromarray(pixels)


def test_the_official_size_is_cropped_and_resized_as_torchvision_does() -> None:
    transforms: Any = load_module("torchvision.transforms")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8))
    expected = transforms.Compose([transforms.CenterCrop(108), transforms.Resize(32)])(image)
    np.testing.assert_array_equal(celeba.crop(image, "x"), np.asarray(expected).transpose(2, 0, 1))


@pytest.mark.parametrize(("width", "height", "side"), [(178, 218, 108), (356, 436, 216), (89, 109, 54)])
def test_the_crop_is_a_fixed_share_of_the_width(width: int, height: int, side: int) -> None:
    red = celeba.crop(frame(width, height, side), "x")
    assert red.shape == (3, 32, 32)
    # At the half size the margins are odd, and the square can be off by half a pixel at one edge.
    inner = red[:, 1:-1, 1:-1]
    assert (inner[0] == 255).all() and (inner[2] == 0).all()
    wider = celeba.crop(frame(width, height, side * 5 // 6), "x")
    assert (wider[2, 0] == 255).all() and (wider[2, :, -1] == 255).all()


def test_resizing_averages_fine_stripes() -> None:
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[::2] = 255
    resized = celeba.crop(Image.fromarray(pixels), "x")[:, 2:-2]
    assert resized.min() > 100 and resized.max() < 155


@pytest.mark.parametrize(
    ("count", "train"), [(202_599, 100_000), (100_001, 100_000), (100_000, 80_000), (10_000, 8_000), (2, 1)]
)
def test_the_split(count: int, train: int) -> None:
    assert celeba.train_count(count) == train


def test_a_folder_is_read_in_file_order_and_split(celeba_folder: Path, celeba_slice: Path) -> None:
    dataset = load("celeba", celeba_folder)
    assert not dataset.official
    assert dataset.train_labels is None and dataset.test_labels is None
    assert dataset.train.shape == (8, 3, 32, 32) and dataset.test.shape == (2, 3, 32, 32)
    for number, pixels in enumerate([*dataset.train, *dataset.test], start=1):
        with Image.open(celeba_slice / f"{number:06d}.jpg") as image:
            np.testing.assert_array_equal(pixels, celeba.crop(image, "x"))


@pytest.mark.parametrize(
    "place",
    [
        "celeba/img_align_celeba",
        "img_align_celeba",
        "celeba",
        "",
        "img_align_celeba/img_align_celeba",
        "celeba/img_align_celeba/img_align_celeba",
        "CelebA/Img/img_align_celeba",
        "CelebA/Img/img_align_celeba/img_align_celeba",
        "CelebA/img_align_celeba",
        "Img/img_align_celeba",
    ],
)
def test_where_a_folder_may_be(celeba_slice: Path, tmp_path: Path, place: str) -> None:
    shutil.copytree(celeba_slice, tmp_path / "data" / place, dirs_exist_ok=True)
    assert celeba.locate(tmp_path / "data") == tmp_path / "data" / place


@pytest.mark.parametrize("place", ["", "celeba", "CelebA/Img"])
def test_where_the_archive_may_be(tmp_path: Path, place: str) -> None:
    (tmp_path / "data" / place).mkdir(parents=True)
    (tmp_path / "data" / place / celeba.ARCHIVE).touch()
    assert celeba.locate(tmp_path / "data") == tmp_path / "data" / place / celeba.ARCHIVE


def test_a_download_that_gives_no_file_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gdown 4 returns None, without an error, where Google Drive gives no file."""
    monkeypatch.setitem(sys.modules, "gdown", SimpleNamespace(download=lambda **options: None))
    with pytest.raises(BenchError) as refused:
        celeba.download(tmp_path)
    told = str(refused.value)
    assert told.startswith(f"{celeba.ARCHIVE} cannot be downloaded (Google Drive gives no file")
    assert told.endswith(f"get it from {celeba.HOME} and put it in {tmp_path / 'celeba'}")


def test_stray_pictures_are_not_celeba(celeba_slice: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    save(folder / "holiday.jpg", 178, 218)
    assert celeba.locate(folder) is None
    # Not even beside some that are.
    shutil.copytree(celeba_slice, folder, dirs_exist_ok=True)
    assert celeba.locate(folder) is None
    (folder / "holiday.jpg").unlink()
    assert celeba.locate(folder) == folder


def test_images_without_a_folder_s_name_come_after_what_has_one(
    celeba_slice: Path, tmp_path: Path, cache: Path
) -> None:
    shutil.copytree(celeba_slice, tmp_path / "data")
    official = cache / "celeba" / celeba.ARCHIVE
    official.parent.mkdir(parents=True)
    official.touch()
    assert celeba.locate(tmp_path / "data") == official


@pytest.mark.parametrize("place", ["celeba", "img_align_celeba"])
def test_a_folder_of_celeba_s_name_may_itself_be_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    save(tmp_path / place / "face_1.png", 178, 218)
    assert celeba.locate(tmp_path / place) == tmp_path / place
    monkeypatch.chdir(tmp_path / place)
    assert celeba.locate(Path()) == Path()


def archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder's images as the official archive would hold them, torchvision's checksum set to match."""
    path = folder / "celeba" / celeba.ARCHIVE
    with zipfile.ZipFile(path, "w") as members:
        for image in sorted((folder / "celeba" / "img_align_celeba").iterdir(), reverse=True):
            members.write(image, f"img_align_celeba/{image.name}")
        members.writestr("../escaped.txt", "evil")
    reference: Any = load_module("torchvision.datasets").CelebA
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(reference, "file_list", [("identifier", md5, celeba.ARCHIVE)])
    return path


def test_the_archive_is_official_and_read_in_place(
    celeba_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_folder = load("celeba", celeba_folder)
    archive(celeba_folder, monkeypatch)
    shutil.rmtree(celeba_folder / "celeba" / "img_align_celeba")
    dataset = load("celeba", celeba_folder)
    assert dataset.official and dataset.fingerprint == from_folder.fingerprint
    assert [path.name for path in (celeba_folder / "celeba").iterdir()] == [celeba.ARCHIVE]
    assert not list(celeba_folder.parent.rglob("escaped.txt"))


def test_an_altered_archive_is_refused(
    celeba_folder: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    path = archive(celeba_folder, monkeypatch)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BenchError, match=f"{celeba.ARCHIVE} is truncated or altered"):
        load("celeba", celeba_folder)
    assert not list((cache / "decoded").iterdir())


def test_a_corrupt_and_a_landscape_image_are_named(celeba_folder: Path) -> None:
    folder = celeba_folder / "celeba" / "img_align_celeba"
    save(folder / "000009.jpg", 218, 100)
    with pytest.raises(BenchError, match=r"000009.jpg is 218x100: no aligned CelebA image"):
        load("celeba", celeba_folder)
    (folder / "000009.jpg").write_bytes((folder / "000001.jpg").read_bytes()[:900])
    with pytest.raises(BenchError, match=r"000009.jpg is not a complete image"):
        load("celeba", celeba_folder)


def test_one_image_cannot_be_split(celeba_folder: Path) -> None:
    for number in range(2, 11):
        (celeba_folder / "celeba" / "img_align_celeba" / f"{number:06d}.jpg").unlink()
    with pytest.raises(BenchError, match="CelebA has 1 image where at least 2"):
        load("celeba", celeba_folder)


def test_nothing_found_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=rf"CelebA is not found; .*{celeba.ARCHIVE}.*--data-dir"):
        load("celeba", tmp_path)


OTHERS = """
import sys
import bench.metrics.fid, bench.metrics.rmse, bench.metrics.scc
from bench.datasets import load
from bench.judges.finding import judge_for
load("mnist")
judge_for("mnist")
for name in ("mnist", "cifar10", "celeba", "user"):
    __import__(f"bench.datasets.{name}")
print(*sorted({"gdown", "facenet_pytorch", "torch_fidelity"} & set(sys.modules)))
"""


def test_only_celeba_needs_gdown_and_facenet(tmp_path: Path) -> None:
    """Reading and judging MNIST imports neither; each is imported in one place, inside a function."""
    done = subprocess.run(
        [sys.executable, "-c", OTHERS],
        capture_output=True,
        text=True,
        env=os.environ | {"BENCH_CACHE": str(tmp_path)},
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
    root = Path(__file__).parents[3]
    named = {
        str(path.relative_to(root))
        for folder in ("bench", "methods", "classifiers")
        for path in (root / folder).rglob("*.py")
        for word in ("import gdown", 'load("facenet_pytorch', "import facenet_pytorch")
        if word in path.read_text(encoding="utf-8")
    }
    assert named == {"bench/datasets/celeba.py", "classifiers/facenet.py"}
