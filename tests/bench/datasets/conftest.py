"""An empty cache for every test, and image folders: slices of the real files where they are at hand."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.datasets.cifar10 import CLASSES

SHARED = Path(__file__).parents[4] / "shared" / "data"
EACH = 3
PARTS = ("train", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, not there yet; no BENCH_DATA."""
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def save(path: Path, width: int = 32, height: int = 32, seed: int = 0, channels: int = 3) -> Path:
    """A smooth made-up image, grey or RGB, in the format that the name says."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, channels), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small.squeeze()).resize((width, height)).save(path)
    return path


@pytest.fixture(scope="session")
def cifar10_slice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`{train,test}/<class>/000N.jpg`, three of each class."""
    folder = tmp_path_factory.mktemp("slice") / "cifar10"
    archive = SHARED / "cifar10-jpeg.tar.xz"
    if archive.exists() and shutil.which("tar"):
        folder.mkdir()
        chosen = f"*/000[0-{EACH - 1}].jpg"
        subprocess.run(["tar", "-xJf", archive, "-C", folder, "--wildcards", chosen], check=True)
    else:
        names = [f"{part}/{name}/{i:04d}.jpg" for part in PARTS for name in CLASSES for i in range(EACH)]
        for seed, name in enumerate(names):
            save(folder / name, seed=seed)
    return folder


@pytest.fixture(scope="session")
def celeba_slice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`img_align_celeba/00000N.jpg`, ten faces at half size."""
    folder = tmp_path_factory.mktemp("slice") / "img_align_celeba"
    folder.mkdir()
    names = [f"{number:06d}.jpg" for number in range(1, 11)]
    archive = SHARED / "celeba-first10000-half.tar.xz"
    if archive.exists():
        with tarfile.open(archive, "r|xz") as members:
            for member in members:
                if member.isfile():
                    stream = members.extractfile(member)
                    assert stream is not None
                    (folder / Path(member.name).name).write_bytes(stream.read())
                if member.name.endswith(names[-1]):
                    break
    else:
        for seed, name in enumerate(names):
            save(folder / name, 89, 109, seed)
    return folder


@pytest.fixture
def cifar10_folder(cifar10_slice: Path, tmp_path: Path) -> Path:
    """A data folder with a copy of the slice in `cifar10/`, to be changed at will."""
    shutil.copytree(cifar10_slice, tmp_path / "data" / "cifar10")
    return tmp_path / "data"


@pytest.fixture
def celeba_folder(celeba_slice: Path, tmp_path: Path) -> Path:
    """A data folder with a copy of the slice in `celeba/img_align_celeba/`."""
    shutil.copytree(celeba_slice, tmp_path / "data" / "celeba" / "img_align_celeba")
    return tmp_path / "data"
