"""What a user is handed cannot run code, leave its folder, fill the memory or speak to the terminal.

That no pickle is opened but two checked kinds of files is tested in test_imports.py, test_cifar10.py and
test_judges.py; links and names in results in test_merging.py and test_status.py; LaTeX in test_latex.py.
"""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bench.datasets import load
from bench.datasets.mnist import FILES, PACKAGED
from bench.errors import BenchError
from bench.grid.cell import Cell
from bench.plugins.registry import Description, Setting, Source
from bench.problem.posing import Problem
from bench.store.provenance import without_places
from bench.util.text import file_name
from tests.bench.installed import METHOD, bench, install

MEGABYTE = 1_000_000


class Touch:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def peak(call: Callable[[], object]) -> float:
    """The most memory that Python held during a call that is refused, in MB."""
    tracemalloc.start()
    try:
        with pytest.raises(BenchError):
            call()
        return tracemalloc.get_traced_memory()[1] / MEGABYTE
    finally:
        tracemalloc.stop()


def test_a_small_gzip_file_that_unpacks_to_much_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    for name in FILES:
        shutil.copy(PACKAGED / f"{name}.gz", tmp_path)
    name = next(iter(FILES))
    with gzip.open(tmp_path / f"{name}.gz", "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(bytes(MEGABYTE))
    assert (tmp_path / f"{name}.gz").stat().st_size < 3 * MEGABYTE
    assert peak(lambda: load("mnist", tmp_path)) < 150


def test_a_small_archive_that_unpacks_to_much_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        member.size = 300 * MEGABYTE
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    assert peak(lambda: load("cifar10", tmp_path)) < 150


def test_an_archive_writes_nothing_outside_its_place(tmp_path: Path, own_cache: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    marker = tmp_path / "marker"
    content = pickle.dumps(Touch(marker))
    with tarfile.open(data / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name in ("../../climbed", "/tmp/climbed-by-bench", "cifar-10-batches-py/../../climbed"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for number in range(2, 6):
            member = tarfile.TarInfo(f"cifar-10-batches-py/data_batch_{number}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    before = {path for path in tmp_path.rglob("*") if own_cache not in [path, *path.parents]}
    with pytest.raises(BenchError, match="lacks data_batch_1"):
        load("cifar10", data)
    after = {path for path in tmp_path.rglob("*") if own_cache not in [path, *path.parents]}
    assert after == before and not marker.exists() and not Path("/tmp/climbed-by-bench").exists()


@pytest.mark.parametrize("kind", ["npz", "bare", "masquerading"])
def test_arrays_of_python_objects_are_refused_unopened(tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "marker"
    objects = np.array([Touch(marker)], dtype=object)
    path = tmp_path / "images.npz"
    if kind == "npz":
        np.savez(path, train=objects, test=objects)
    elif kind == "bare":
        with path.open("wb") as file:
            np.save(file, objects, allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(Touch(marker)))
    with pytest.raises(BenchError):
        load(str(path))
    assert not marker.exists()
    # The trap works where it is sprung.
    pickle.loads(pickle.dumps(Touch(marker)))
    assert marker.exists()


def test_a_copy_in_the_cache_that_holds_objects_is_refused_unopened(tmp_path: Path, own_cache: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    from PIL import Image

    for name in ("a", "b"):
        Image.new("L", (8, 8)).save(images / f"{name}.png")
    load(str(images))
    marker = tmp_path / "marker"
    (train,) = own_cache.glob("decoded/*/train.npy")
    train.chmod(0o600)
    np.save(train, np.array([Touch(marker)], dtype=object), allow_pickle=True)
    with pytest.raises(BenchError, match="damaged copy"):
        load(str(images))
    assert not marker.exists()


ANY_NAME = st.text(min_size=1, max_size=300)


@given(one=st.text(st.characters(min_codepoint=128), min_size=1), other=ANY_NAME)
@example("图片", "照片")
@example("müll", "möll")
@example("🐱", "🐶")
def test_names_in_other_letters_keep_folders_of_their_own(one: str, other: str) -> None:
    assume(one != other)
    assert file_name(one) != file_name(other)


@given(ANY_NAME)
def test_any_name_becomes_a_file_name_that_stays_where_it_is(name: str) -> None:
    safe = file_name(name)
    assert 0 < len(safe.encode()) <= 255 and safe.isascii() and safe.isprintable()
    assert safe[0] != "." and not set(safe) & set("/\\:*?\"<>| '$`&;\n")
    assert Path("root", safe).parent == Path("root")


@given(dataset=ANY_NAME, method=ANY_NAME, setting=ANY_NAME, value=ANY_NAME)
def test_any_cell_lies_four_folders_below_the_results(
    dataset: str, method: str, setting: str, value: str
) -> None:
    about = Description(method, "", "", "", "", False, {setting: Setting("str", "")}, {}, {}, (), "")
    cell = Cell(Problem(dataset), Source(method, "", ""), about, "quick", {setting: value})
    assert len(cell.path.parts) == 4 and ".." not in cell.path.parts and not cell.path.is_absolute()
    assert cell.title.isprintable()


def test_what_a_plugin_says_of_itself_is_no_command_to_the_terminal(tmp_path: Path) -> None:
    nasty = "\\x1b]0;owned\\x07\\x1b[2J\\u202e"
    code = METHOD.replace("Every missing pixel takes one value.", f"Fine.{nasty}\n\n    More.{nasty}")
    code = code.replace("    value: float", f'    display_name = "Nice{nasty}"\n    value: float')
    install(tmp_path, "nasty", {"bench.methods": {"nasty": "nasty:Constant"}}, code)
    done = bench(tmp_path, "methods", "nasty")
    assert done.returncode == 0, done.stderr
    assert "Nice" in done.stdout and "Fine." in done.stdout and "More." in done.stdout
    assert all(line.isprintable() for line in (done.stdout + done.stderr).splitlines())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "bench run --data-dir /home/ann/data --results=/scratch/x/runs",
            "bench run --data-dir .../data --results=.../runs",
        ),
        ("--dataset mnist,/home/ann/faces.npz", "--dataset mnist,.../faces.npz"),
        ('  File "/home/ann/own.py", line 3', '  File ".../own.py", line 3'),
        ('  File "/usr/lib/python3/site-packages/torch/nn/x.py"', '  File "torch/nn/x.py"'),
        ("~/models/facenet.pt holds no weights", ".../facenet.pt holds no weights"),
        ("see https://arxiv.org/abs/2104.01482", "see https://arxiv.org/abs/2104.01482"),
        ("3/4 of results/runs, 1 / 2", "3/4 of results/runs, 1 / 2"),
    ],
)
def test_results_tell_no_folders(text: str, kept: str) -> None:
    assert without_places({"a": [text, 1.5, None]}) == {"a": [kept, 1.5, None]}


def test_the_cache_folder_is_told_by_its_name(own_cache: Path) -> None:
    assert without_places(f"{own_cache}/judges/x.pt") == "CACHE/judges/x.pt"


@given(st.text())
def test_text_without_folders_stays_as_it_is(text: str) -> None:
    plain = text.replace("/", "")
    assert without_places(plain) == plain
