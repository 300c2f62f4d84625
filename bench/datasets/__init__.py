"""The data sets: MNIST, CIFAR-10, CelebA, the user's own files, and those that plugins register."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from bench.datasets.dataset import Dataset, subset
from bench.errors import BenchError
from bench.util.files import expanded
from bench.util.text import unknown

__all__ = [
    "BUILT_IN",
    "Dataset",
    "called",
    "check_name",
    "is_named",
    "judge_of",
    "load",
    "misspelt",
    "registered",
    "subset",
]

GROUP = "bench.datasets"
BUILT_IN = ("mnist", "cifar10", "celeba")

Loader = Callable[[Path | None], Dataset]


def called(name: str) -> str:
    """The name of a data set in results: its name, or the last part of its path without .npz."""
    from bench.util.text import clean

    path = expanded(name)
    if path.name in ("", ".."):
        path = path.resolve()
    return clean(path.name.removesuffix(".npz")) or "data"


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """Read a data set.

    Args:
        name: `mnist`, `cifar10` or `celeba`; the path of an .npz file or a folder of images; or a name that
            a plugin registers under the entry-point group "bench.datasets".
        data_dir: the folder with the files. If None, BENCH_DATA and then the cache folder are searched.

    Raises:
        BenchError: the name is unknown, or a file is missing, damaged or not suitable.
    """
    check_name(name)
    if name in BUILT_IN:
        loader: Loader = importlib.import_module(f"bench.datasets.{name}").load
        return loader(data_dir)
    plugins = registered()
    if name in plugins:
        return _load_plugin(plugins[name], data_dir)
    from bench.datasets import user

    return user.load(expanded(name))


def check_name(name: str) -> None:
    """Check that a name is a data set's, or a path that cannot be confused with one. Reads no file.

    Raises:
        BenchError: the name is unknown; the message offers the nearest known one. Or it is a path that
            ends in the name of a data set: the results of both would lie in one folder.
    """
    if name in BUILT_IN:
        return
    if not name.strip():
        raise BenchError(unknown("data set", name, BUILT_IN))
    plugins = registered()
    if "/" in name or name.endswith(".npz") or (name not in plugins and Path(name).is_dir()):
        own = called(name)
        if own in (*BUILT_IN, *plugins):
            raise BenchError(f"{name} would look like the data set {own} in results and tables; rename it")
        return
    if name not in plugins:
        refusal = unknown("data set", name, [*BUILT_IN, *plugins])
        raise BenchError(f"{refusal}; or give the path of an .npz or a folder")


def misspelt(name: str) -> str | None:
    """The data set that a name is taken to mean, as "MNIST", "CIFAR-10" and "mnsit" are; None if it is none.

    Such a name differs in capitals, punctuation or the order of letters only. One that differs in more may be
    the name of somebody's own images, as "emnist". Raises as `registered`.
    """
    known = {_letters(each): each for each in (*registered(), *BUILT_IN)}
    meant = known.get(_letters(name))
    return None if meant == name or name in registered() else meant


def _letters(name: str) -> str:
    return "".join(sorted(char for char in name.casefold() if char.isalnum()))


def is_named(name: str) -> bool:
    """Whether it is a built-in or plugin's data set, and so not a path. Raises as `registered`."""
    return name in BUILT_IN or name in registered()


def judge_of(name: str) -> str | None:
    """The classifier that judges a data set's images; None if there is none."""
    if name not in BUILT_IN:
        return None
    judge: str = importlib.import_module(f"bench.datasets.{name}").JUDGE
    return judge


def registered() -> dict[str, EntryPoint]:
    """The data sets of installed plugins by name, without importing them.

    Raises:
        BenchError: a name is used twice.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        if entry.name in found and found[entry.name].value == entry.value:
            continue
        if entry.name in BUILT_IN or entry.name in found:
            first = found[entry.name].value if entry.name in found else f"bench.datasets.{entry.name}"
            raise BenchError(
                f"two data sets are named {entry.name!r}: {first} and {entry.value}; uninstall one of them"
            )
        found[entry.name] = entry
    return found


def _load_plugin(entry: EntryPoint, data_dir: Path | None) -> Dataset:
    origin = f"data set {entry.name!r} ({entry.value})"
    try:
        loader: Loader = entry.load()
        dataset: object = loader(data_dir)
    except BenchError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise BenchError(f"{origin} fails with {type(error).__name__}: {reason}; mend the plugin") from error
    if not isinstance(dataset, Dataset):
        raise BenchError(f"{origin} gives {type(dataset).__name__}; return a bench.datasets.Dataset")
    return dataset
