"""CelebA: aligned photographs of faces, cropped and resized to 32x32 RGB.

The crop is the centre square of 108/178 of the width (108x108 of the official 178x218 images), resized
with Pillow's bilinear filter, which averages over the whole area that a pixel shrinks from (antialiased).
Liu, Luo, Wang, Tang, "Deep learning face attributes in the wild", 2015.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from bench.datasets.dataset import Dataset, Pixels
from bench.datasets.decoded import cached_dataset, channels_first, decode, list_images, read_image
from bench.datasets.locations import Listing, data_folders
from bench.errors import BenchError

ARCHIVE = "img_align_celeba.zip"
PLACES = ("", "celeba", "CelebA", "CelebA/Img", "Img")
"""The folders below a data folder that may hold the archive or `img_align_celeba/`. `CelebA/Img` is the
layout of the official page."""
ALIGNED = "img_align_celeba"
FOLDERS = (
    f"celeba/{ALIGNED}",
    ALIGNED,
    "celeba",
    # Programs that unpack the archive into a folder with its name make one folder more.
    *(f"{place}/{folder}" for folder in (ALIGNED, f"{ALIGNED}/{ALIGNED}") for place in PLACES[1:]),
    f"{ALIGNED}/{ALIGNED}",
)
"""The folders below a data folder that may hold the images."""
NAME = re.compile(r"\d{6}\.(jpg|png)", re.ASCII)
"""What CelebA calls its images, aligned ones .jpg or .png."""
HOME = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
SIZE = 32
SHAPE = (3, SIZE, SIZE)
RECIPE = "centre 108/178 of the width, bilinear antialiased to 32x32"
TRAIN = 100_000
OFFICIAL = 202_599
JUDGE = "facenet"
"""The classifier that judges these images."""

CITATION = """@inproceedings{liu2015faceattributes,
  title = {Deep Learning Face Attributes in the Wild},
  author = {Liu, Ziwei and Luo, Ping and Wang, Xiaogang and Tang, Xiaoou},
  booktitle = {Proceedings of the IEEE International Conference on Computer Vision (ICCV)},
  year = {2015}
}"""
REMEDY = f"run `bench prepare`, or put {ARCHIVE} or a folder img_align_celeba/ of its images in --data-dir"


def load(data_dir: Path | None = None) -> Dataset:
    """Read CelebA, uint8 (N, 3, 32, 32), without labels, in file order, split as `train_count` says.

    It is `official` if it was read from the official archive.

    Args:
        data_dir: a folder with the archive or the folder `img_align_celeba/`, in it or in one of `PLACES`.
            If None, BENCH_DATA is taken. The cache folder is searched next, and last a data folder that
            holds nothing but images with CelebA's own names.

    Raises:
        BenchError: nothing is found, or a file is damaged or not the published one.
    """
    source = locate(data_dir)
    if source is None:
        raise BenchError(f"CelebA is not found; {REMEDY}")
    if source.name == ARCHIVE:
        found = cached_dataset("celeba", RECIPE, [source], partial(_from_archive, source), official=True)
    else:
        files = list_images(source)
        found = cached_dataset("celeba", RECIPE, files, partial(_from_folder, source, files))
    return replace(found, display_name="CelebA", citation=CITATION)


def locate(data_dir: Path | None = None) -> Path | None:
    """The archive or the folder of images that CelebA is read from; None if there is none."""
    places = data_folders(data_dir)
    for given in places:
        for archive in (given / place / ARCHIVE for place in PLACES):
            if archive.is_file():
                return archive
        named = [given / name for name in FOLDERS]
        if given.resolve().name in FOLDERS:
            named.append(given)
        for folder in named:
            if folder.is_dir() and list_images(folder):
                return folder
    # A folder with another name may hold other pictures.
    return next((given for given in places if _holds_only_celeba(given)), None)


def _holds_only_celeba(folder: Path) -> bool:
    images = list_images(folder)
    return bool(images) and all(NAME.fullmatch(image.name) for image in images)


def listing(data_dir: Path | None = None) -> Listing:
    """What `bench datasets` says about it."""
    source = locate(data_dir)
    official = source is None or source.name == ARCHIVE
    count = OFFICIAL if source is None or official else len(list_images(source))
    train = train_count(count) if count > 1 else count
    return Listing(
        "celeba",
        source,
        train,
        count - train,
        "3x32x32",
        official=official,
        source=HOME,
        license="non-commercial research only",
    )


def download(folder: Path) -> None:
    """Download the official archive (1.4 GB) into `celeba/` below a folder, or the rest of it, with gdown.

    Raises:
        BenchError: the network fails, or the download is not the published file.
    """
    import gdown

    from bench.datasets.download import accept, partial_name, refusal

    target = folder / "celeba" / ARCHIVE
    target.parent.mkdir(parents=True, exist_ok=True)
    identifier, md5 = published()
    try:
        written = gdown.download(id=identifier, output=str(partial_name(target)), resume=True)
    except Exception as error:
        # gdown and the libraries under it raise errors of many kinds.
        raise refusal(target, HOME, str(error)) from error
    if written is None:
        raise refusal(target, HOME, "Google Drive gives no file; it limits how often one is fetched in a day")
    accept(target, md5, HOME)


def train_count(count: int) -> int:
    """How many of the images, in file order, are for training; the others are for testing.

    The first 100,000 (PRFlow paper, Section 4); if there are no more images than that, 80 % of them.

    Raises:
        BenchError: there are fewer than two images to split.
    """
    if count < 2:
        raise BenchError(f"CelebA has {count} image where at least 2 are needed; {REMEDY}")
    return TRAIN if count > TRAIN else count * 4 // 5


def crop(image: Image.Image, path: Path | str) -> Pixels:
    """The face of one aligned image of any size, uint8 (3, 32, 32).

    Raises:
        BenchError: the image is smaller than the crop.
    """
    side = round(image.width * 108 / 178)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    if side < 1 or top < 0:
        raise BenchError(
            f"{path} is {image.width}x{image.height}: no aligned CelebA image; replace or remove it"
        )
    square = image.convert("RGB").crop((left, top, left + side, top + side))
    return channels_first(square.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _from_folder(folder: Path, files: list[Path], target: Path) -> None:
    split = train_count(len(files))
    for part, chosen in (("train", files[:split]), ("test", files[split:])):
        decode(f"celeba {part}", chosen, _read, SHAPE, target / f"{part}.npy")


def _read(path: Path) -> Pixels:
    return crop(read_image(path, path), path)


def _from_archive(archive: Path, target: Path) -> None:
    with archive.open("rb") as stream:
        if hashlib.file_digest(stream, "md5").hexdigest() != published()[1]:
            raise BenchError(
                f"{archive} is truncated or altered: its MD5 is not the published one; download it again"
            )
    # Images are read from the archive in place; nothing is unpacked.
    with zipfile.ZipFile(archive) as members:

        def read(name: str) -> Pixels:
            with members.open(name) as stream:
                return crop(read_image(stream, f"{archive}/{name}"), f"{archive}/{name}")

        names = sorted(name for name in members.namelist() if name.lower().endswith(".jpg"))
        split = train_count(len(names))
        for part, chosen in (("train", names[:split]), ("test", names[split:])):
            decode(f"celeba {part}", chosen, read, SHAPE, target / f"{part}.npy")


def published() -> tuple[str, str]:
    """The archive's identifier on Google Drive and its published MD5, as torchvision lists them."""
    from bench.classifiers.vision import load as load_module

    official: Any = load_module("torchvision.datasets").CelebA
    return next((identifier, md5) for identifier, md5, name in official.file_list if name == ARCHIVE)
