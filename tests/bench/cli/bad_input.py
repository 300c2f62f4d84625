"""Kinds of bad input by name: what is prepared, what is called, and what the one line must say."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.report.stored import result
from tests.plugin_files import code_of

Setup = Callable[[Path], None]
RUN = "run --methods mean --rates 0.8 --device cpu --threads 1"
MNIST = f"{RUN} --dataset mnist --train 20 --test 10"
OURS = f"{RUN} --dataset images.npz"
PLUGIN = "run --dataset mnist --train 20 --test 10 --rates 0.8 --methods own --plugin own.py"
SUITE = "plan --suite own.yaml"
CELL = "mnist/pixel-0.8/mean/seed-0"

HEAD = """
from dataclasses import dataclass
import torch
from bench.imputer import Imputer
"""
METHOD = code_of("own")


def nothing(folder: Path) -> None:
    """The call alone is wrong."""


def text(name: str, content: str | bytes) -> Setup:
    """A file with some content."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def npz(**arrays: object) -> Setup:
    """`images.npz` with some arrays; images of digits' size if none are given."""

    def write(folder: Path) -> None:
        good = np.zeros((12, 8, 8), np.uint8)
        np.savez(folder / "images.npz", **{"train": good, "test": good, **arrays})  # type: ignore[arg-type]

    return write


def torn_npz(folder: Path) -> None:
    npz()(folder)
    path = folder / "images.npz"
    path.write_bytes(path.read_bytes()[:-60])


def boundless_npz(folder: Path) -> None:
    """A member whose header says that it holds petabytes."""
    import zipfile

    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 3000, 3000), }"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    with zipfile.ZipFile(folder / "images.npz", "w") as archive:
        archive.writestr("train.npy", content)
        archive.writestr("test.npy", content)


def pickled_npz(folder: Path) -> None:
    npz(train=np.array([{"a": 1}, {"b": 2}], dtype=object))(folder)


def images(*names: str) -> Setup:
    def write(folder: Path) -> None:
        (folder / "pictures").mkdir()
        for name in names:
            (folder / "pictures" / name).write_bytes(b"no image")

    return write


def torn_mnist(folder: Path) -> None:
    text("data/train-images-idx3-ubyte.gz", gzip.compress(b"\0\0\x08\x03" + bytes(1000))[:-9])(folder)


def two_folders(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        npz()(folder)
        shutil.copy(folder / "images.npz", folder / name)


def stored(**changes: Any) -> Setup:
    """A result of an honest run, changed."""

    def write(folder: Path) -> None:
        document = result("mean", **changes)
        text(f"results/runs/{CELL}/result.json", json.dumps(document))(folder)

    return write


def other_machine(folder: Path) -> None:
    stored(key="sha256:1")(folder)
    text(f"elsewhere/{CELL}/result.json", json.dumps(result("mean", key="sha256:2")))(folder)


def other_numbers(folder: Path) -> None:
    stored()(folder)
    text(f"elsewhere/{CELL}/result.json", json.dumps(result("mean", rmse=0.3)))(folder)


def linked(folder: Path) -> None:
    text("secret.txt", "not for others")(folder)
    text(f"elsewhere/{CELL}/result.json", json.dumps(result("mean")))(folder)
    (folder / "elsewhere" / CELL / "log.txt").symlink_to(folder / "secret.txt")


def misplaced(folder: Path) -> None:
    text(f"elsewhere/{CELL}/result.json", json.dumps(result("../../mean")))(folder)


TORN = '{"schema": 1, "status": "ok", "cell": {"met'

REFUSED: dict[str, tuple[Setup, str, str]] = {
    "command: unknown": (nothing, "rnu", "unknown command 'rnu'; did you mean 'run'?"),
    "command: none of its options": (nothing, f"{MNIST} --sede 1", "No such option"),
    "method: unknown": (nothing, MNIST.replace("mean", "maen"), "did you mean 'mean'?"),
    "method: none": (nothing, "run --dataset mnist", "no methods given"),
    "data set: unknown": (nothing, f"{RUN} --dataset minst", "did you mean 'mnist'?"),
    "data set: unknown to a plan": (nothing, "plan --methods mean --dataset minst", "did you mean 'mnist'?"),
    "grid: half of one": (nothing, "status --preset smoke --rates 0.6", "no methods given"),
    "data set: none": (nothing, "run --methods mean", "no data set given"),
    "preset: unknown": (nothing, f"{MNIST} --preset quik", "did you mean 'quick'?"),
    "rate: above one": (nothing, f"{MNIST} --rates 80", "rate 80 is not in (0, 1)"),
    "rate: zero": (nothing, f"{MNIST} --rates 0", "rate 0 is not in (0, 1)"),
    "rate: not a number": (nothing, f"{MNIST} --rates nan", "rate nan is not in (0, 1)"),
    "rate: a word": (nothing, f"{MNIST} --rates most", "rate 'most' is not a number"),
    "rates: none": (nothing, f"{MNIST} --rates ,", "no rates given"),
    "rates: two that print alike": (nothing, f"{MNIST} --rates 0.8,0.80000001", "would share the folder"),
    "seed: negative": (nothing, f"{MNIST} --seeds -1", "seed -1 is not possible"),
    "seed: a fraction": (nothing, f"{MNIST} --seeds 0.5", "seed '0.5' is not a whole number"),
    "seed: too large": (nothing, f"{MNIST} --seeds {2**40}", f"seed {2**40} is not possible"),
    "size: zero": (nothing, f"{MNIST} --train 0", "train size 0 is not possible"),
    "size: more than there are": (nothing, f"{MNIST} --test 10001", "mnist has 10000 test images"),
    "threads: none": (nothing, f"{MNIST} --threads 0", "--threads"),
    "jobs: too many": (nothing, f"{MNIST} --jobs 1000000000000", "is more than a machine runs"),
    "deadline: none": (nothing, f"{MNIST} --timeout 0", "--timeout"),
    "deadline: not a number": (nothing, f"{MNIST} --timeout nan", "nan is not a finite number"),
    "memory: not a number": (nothing, f"{MNIST} --memory nan", "nan is not a finite number"),
    "device: unknown": (nothing, f"{MNIST} --device abacus", "device 'abacus' cannot be used here"),
    "setting: malformed": (nothing, f"{MNIST} --set value=1", "is not METHOD.NAME=VALUE"),
    "setting: unknown": (nothing, f"{MNIST} --set mean.depth=3", "unknown setting of mean 'depth'"),
    "setting: of another type": (
        text("own.py", METHOD),
        f"{PLUGIN} --set own.value=high",
        "own.value takes a value of type float, not 'high'",
    ),
    "setting: no finite number": (
        text("own.py", METHOD),
        f"{PLUGIN} --set own.value=inf",
        "own.value takes a finite number, not 'inf'",
    ),
    "setting: of a method left out": (
        nothing,
        f"{MNIST} --set knn.neighbours=3",
        "--set: knn is not among the methods asked for; add it to --methods",
    ),
    "setting: of a method that is none": (
        nothing,
        f"{MNIST} --set prflw.alpha=3",
        "--set: unknown method 'prflw'; did you mean 'prflow'?",
    ),
    "folder: of data, a file": (text("data", ""), f"{MNIST} --data-dir data", "is not a folder"),
    "folder: of results, a file": (text("there", ""), f"{MNIST} --results there", "there"),
    "folder: of results, read-only": (nothing, f"{MNIST} --results /proc/nowhere", "/proc/nowhere"),
    "path: no such file": (nothing, f"{RUN} --dataset gone.npz", "gone.npz does not exist"),
    "path: neither file nor folder of images": (text("a/b.txt", ""), f"{RUN} --dataset a/b.txt", "a/b.txt"),
    "paths: two with one name": (
        two_folders,
        f"{RUN} --dataset one/images.npz,two/images.npz",
        "would share the folder",
    ),
    "path: a name that is taken": (
        lambda folder: (npz()(folder), (folder / "images.npz").rename(folder / "mnist.npz"))[0],
        f"{RUN} --dataset mnist.npz",
        "would look like the data set mnist",
    ),
    "npz: torn": (torn_npz, OURS, "images.npz"),
    "npz: foreign": (text("images.npz", "hello"), OURS, "is not an .npz file"),
    "npz: without training images": (npz(train=np.zeros(0)), OURS, "images.npz: train"),
    "npz: Python objects": (pickled_npz, OURS, "holds Python objects"),
    "npz: whole numbers of 64 bits": (npz(test=np.zeros((9, 8, 8), np.int64)), OURS, "is int64"),
    "npz: out of range": (npz(test=np.full((9, 8, 8), 255.0)), OURS, "scale it to [0, 1]"),
    "npz: holes": (npz(test=np.full((9, 8, 8), np.nan)), OURS, "holds NaN"),
    "npz: two channels": (npz(test=np.zeros((9, 2, 8, 8), np.uint8)), OURS, "without 1 or 3 channels"),
    "npz: two sizes": (npz(test=np.zeros((9, 9, 9), np.uint8)), OURS, "make them one size"),
    "npz: a label too few": (npz(test_labels=np.zeros(11, np.int64)), OURS, "one label an image"),
    "npz: larger than memory": (boundless_npz, OURS, "images.npz"),
    "images: none": (images(), f"{RUN} --dataset pictures/", "holds 0 .png or .jpg images"),
    "images: corrupt": (images("a.png", "b.png"), f"{RUN} --dataset pictures/", "is not a complete image"),
    "mnist: truncated": (torn_mnist, f"{MNIST} --data-dir data", "cannot be read"),
    "cifar10: a batch that was altered": (
        lambda folder: [
            text(f"data/cifar-10-batches-py/{name}", pickle.dumps({"data": []}))(folder)
            for name in ("test_batch", *(f"data_batch_{number}" for number in range(1, 6)))
        ][-1],
        f"{RUN} --dataset cifar10 --data-dir data",
        "its MD5 is not the published one",
    ),
    "plugin: no such file": (nothing, PLUGIN, "plugin own.py does not exist"),
    "plugin: no Python": (text("own.txt", ""), f"{MNIST} --plugin own.txt", "is not a Python file"),
    "plugin: does not parse": (text("own.py", "def (:"), PLUGIN, "SyntaxError"),
    "plugin: imports what is not there": (text("own.py", "import no_such_thing"), PLUGIN, "no_such_thing"),
    "plugin: ends the process": (text("own.py", "import os; os._exit(3)"), PLUGIN, "ended the process"),
    "plugin: no method": (text("own.py", HEAD), PLUGIN, "this one defines 0"),
    "plugin: half a method": (
        text("own.py", METHOD.replace("def impute", "def input")),
        PLUGIN,
        "does not define impute",
    ),
    "plugin: a setting without a default": (
        text("own.py", METHOD.replace("float = 0.5", "float")),
        PLUGIN,
        "must be int, float, bool or str and have a default",
    ),
    "plugin: what a terminal would obey": (
        text("own.py", "raise ValueError('\\x1b[2J\\x1b]0;owned\\x07first\\nsecond')"),
        PLUGIN,
        "ValueError: first second",
    ),
    "plugin: a name that is taken": (
        text("mean.py", METHOD),
        f"{MNIST} --plugin mean.py",
        "the method name 'mean' is used twice",
    ),
    "suite: unknown": (nothing, "plan --suite papper", "did you mean 'paper'?"),
    "suite: no such file": (nothing, SUITE, "suite own.yaml does not exist"),
    "suite: a folder": (lambda folder: (folder / "own.yaml").mkdir(), SUITE, "own.yaml"),
    "suite: unknown key": (
        text("own.yaml", "methods: [mean]\nrate: [0.8]\n"),
        SUITE,
        "own.yaml line 2: unknown key 'rate'; did you mean 'rates'?",
    ),
    "suite: a word for a list": (text("own.yaml", "\nmethods: mean"), SUITE, "own.yaml line 2: methods:"),
    "suite: a rate that is none": (text("own.yaml", "rates:\n- 0.5\n- 5"), SUITE, "own.yaml line 3: rates:"),
    "suite: a truth for a number": (text("own.yaml", "train: yes"), SUITE, "own.yaml line 1: train:"),
    "suite: a list for a setting": (
        text("own.yaml", "methods: [mean]\nset:\n  mean:\n    depth: [1]\n"),
        SUITE,
        "own.yaml line 4: set.mean.depth: give a number",
    ),
    "suite: settings of a method it has not": (
        text("own.yaml", "methods: [mean]\nset:\n  maen: {}\n"),
        SUITE,
        "own.yaml line 3: unknown method 'maen'; did you mean 'mean'?",
    ),
    "suite: a setting of another type": (
        text("own.yaml", "methods: [knn]\ndatasets: [mnist]\nset:\n  knn:\n    neighbours: many\n"),
        SUITE,
        "own.yaml line 5:",
    ),
    "suite: a setting that is no finite number": (
        text("own.yaml", "methods: [misgan]\ndatasets: [mnist]\nset:\n  misgan:\n    tau: .inf\n"),
        SUITE,
        "own.yaml line 5: misgan.tau takes a finite number",
    ),
    "suite: a key twice": (
        text("own.yaml", "train: 2\ntest: 2\ntrain: 3"),
        SUITE,
        "own.yaml line 3: 'train'",
    ),
    "suite: torn": (text("own.yaml", "methods: [mean,\nrates"), SUITE, "own.yaml line"),
    "suite: no text": (text("own.yaml", bytes(range(256))), SUITE, "own.yaml"),
    "suite: Python in it": (
        text("own.yaml", "description: !!python/object/apply:os.system ['touch ran']"),
        SUITE,
        "own.yaml line 1",
    ),
    "suite: small file, huge content": (
        text("own.yaml", "a: &a [x, x]\nb: &b [*a, *a]\nmethods: [*b, *b]"),
        SUITE,
        "YAML aliases are not supported",
    ),
    "suite: one mapping taken into another": (
        text("own.yaml", "methods: [mean]\ndatasets: [mnist]\nset:\n  mean:\n    <<: {depth: 1}\n"),
        SUITE,
        "own.yaml line 4: unknown setting of mean 'depth'",
    ),
    "suite: a plugin that is not there": (
        text("own.yaml", "methods: [mean]\ndatasets: [mnist]\nplugins: [gone.py]"),
        SUITE,
        "gone.py does not exist",
    ),
    "cell: unknown": (stored(), "show mnist/pixel-0.8/maen/seed-0", f"did you mean '{CELL}'?"),
    "cell: climbs out": (text("secret/log.txt", ""), "show mnist/../../../../secret/../gone", "no cell"),
    "cell: torn": (text(f"results/runs/{CELL}/result.json", TORN), f"reproduce {CELL}", "is not whole JSON"),
    "cell: of a later version": (stored(schema=99), f"reproduce {CELL}", "has schema 99"),
    "cell: of other pixels": (stored(), f"reproduce {CELL}", "pixels are not those of the record"),
    "cell: of a method that is gone": (stored(cell={"method": "lost"}), f"reproduce {CELL}", "'lost'"),
    "judge: a file for a folder": (
        text("there", ""),
        "train-judge mnist --output there",
        "Directory 'there' is a file",
    ),
    "data set: no name": (nothing, 'prepare --dataset ""', "unknown data set ''"),
    "results: none": (nothing, "status", "no cells below"),
    "merge: no such source": (nothing, "merge gone --into there", "gone is not a folder"),
    "merge: no cells": (text("elsewhere/a.txt", ""), "merge elsewhere --into there", "holds no cells"),
    "merge: into itself": (stored(), "merge results/runs --into results/runs/more", "lie in one another"),
    "table: format unknown": (stored(), "table --format pdf", "unknown format 'pdf'"),
}

CONTRADICTIONS: dict[str, tuple[Setup, str]] = {
    "merge: another key": (other_machine, "with another key"),
    "merge: other numbers": (other_numbers, "rmse is 0.16 there, 0.3 here"),
    "merge: a link that leads out": (linked, "log.txt is a link"),
    "merge: a record of another cell": (misplaced, "belongs to another cell than its folder"),
    "merge: torn": (text(f"elsewhere/{CELL}/result.json", TORN), "is not whole JSON"),
}

# How else a fit may end is in test_endings.py.
ROWS: dict[str, tuple[str, str]] = {
    "raises": ("raise RuntimeError('first\\nsecond \\x1b[2J')", "RuntimeError: first second"),
    "outside": ("self.value = 7.0", "must lie in [0, 1]"),
}
