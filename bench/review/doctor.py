"""What this machine has and lacks for a run, and what to do about each shortcoming."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, Unavailable
from bench.util.cache import cache_dir
from bench.util.text import clean

Lines = Iterator["Finding"]
MADE_AGAIN = ("complete", "incomplete", "decoded", "features", "methods", "statistics")
"""The parts of the cache that a run makes by itself. All else there was fetched, trained or put there."""
DEFAULT = "mnist"
"""The data set of the default run: what it lacks is broken."""
LATEX = ("pdflatex", "xelatex", "lualatex", "tectonic")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: "ok"; "lacks" if something is not there that the default run does not need; "broken" if the
            default run needs it.
        text: what was found.
        advice: what to do about it; "" if nothing is wrong.
    """

    level: str
    text: str
    advice: str = ""


def diagnose(
    results: Path, data_dir: Path | None, plugins: tuple[Path, ...]
) -> Iterator[tuple[str, Finding]]:
    """Check everything: each finding with its topic. A check that fails is a finding too."""
    looks: tuple[tuple[str, Callable[[], Lines]], ...] = (
        ("versions", versions),
        ("extras", extras),
        ("devices", devices),
        ("data", lambda: data(data_dir)),
        ("judges", lambda: judges(data_dir)),
        ("methods", lambda: methods(plugins)),
        ("plugins", other_plugins),
        ("folders", lambda: folders(results)),
        ("caches", caches),
        ("latex", latex),
    )
    for topic, look in looks:
        try:
            for finding in look():
                yield topic, finding
        except Exception as error:
            reason = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
            yield topic, Finding("broken", clean(reason), "correct that first")


def versions() -> Lines:
    """bench, Python, and the packages that bench requires."""
    from bench import __version__

    yield Finding("ok", f"bench {__version__}, Python {platform.python_version()}, {platform.platform()}")
    found = []
    for package in _required(""):
        version = _version(package)
        if version is None:
            yield Finding("broken", f"{package} is not installed", "install bench again: pip install bench")
        found.append(f"{package} {version}")
    yield Finding("ok", ", ".join(found))
    for module in ("torch", "scipy", "skimage"):
        importlib.import_module(module)
    from bench.classifiers import vision

    for module in ("torchvision.datasets", "torch_fidelity"):
        vision.load(module)
    yield Finding("ok", "torch, torchvision, scipy, scikit-image and torch-fidelity can be imported")


def extras() -> Lines:
    """What `pip install bench[NAME]` adds."""
    for extra in importlib.metadata.metadata("bench").get_all("Provides-Extra") or []:
        absent = [package for package in _required(extra) if _version(package) is None]
        if absent:
            advice = f"if you want it: pip install 'bench[{extra}]'"
            yield Finding("lacks", f"{extra}: {', '.join(absent)} not installed", advice)
        else:
            yield Finding("ok", f"{extra}: installed")


def _required(extra: str) -> list[str]:
    """The packages that bench requires, or that one of its extras adds."""
    lines = importlib.metadata.requires("bench") or []
    marked = [(line, re.search(r"extra == ['\"]([^'\"]+)", line)) for line in lines]
    names = [re.match(r"[\w.-]+", line) for line, mark in marked if (mark[1] if mark else "") == extra]
    return [name[0] for name in names if name]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def devices() -> Lines:
    """CPU cores, GPUs, and the precision that `auto` takes on each."""
    import torch

    from bench.run.machine import cores, has_fast_bfloat16

    precision = "bfloat16" if has_fast_bfloat16("cpu") else "float32"
    yield Finding("ok", f"cpu: {cores()} cores for this process, precision {precision}")
    given = os.environ.get("OMP_NUM_THREADS")
    if given is not None and given != str(cores()):
        text = f"OMP_NUM_THREADS is {given}: work outside the methods, such as scoring, uses no more threads"
        yield Finding("lacks", text, "unset it to use all cores")
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        precision = "bfloat16" if has_fast_bfloat16(f"cuda:{number}") else "float32"
        memory = facts.total_memory / 2**30
        yield Finding("ok", f"cuda:{number}: {facts.name}, {memory:.0f} GiB, precision {precision}")
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        advice = "for the preset paper, run on a machine where torch sees a GPU"
        yield Finding("lacks", f"no GPU that torch {torch.__version__} ({built}) can use", advice)


def data(data_dir: Path | None) -> Lines:
    """The data sets: whether each is found. MNIST, which the default run takes, is verified too."""
    from bench.datasets import BUILT_IN, load
    from bench.datasets.locations import Listing, data_folder

    given = data_folder(data_dir)
    yield Finding("ok", f"looked for in {given or 'no --data-dir'} and in {cache_dir()}")
    for name in BUILT_IN:
        try:
            listing: Listing = importlib.import_module(f"bench.datasets.{name}").listing(data_dir)
            if name == DEFAULT:
                load(name, data_dir)
        except BenchError as error:
            yield Finding("broken" if name == DEFAULT else "lacks", str(error), "put other files there")
            continue
        if listing.path is None:
            yield Finding("lacks", f"{name}: not found", f"bench prepare --dataset {name}, or --data-dir")
            continue
        kind = "official files" if listing.official else "not the official files"
        yield Finding("ok", f"{name}: {listing.train:,} and {listing.test:,} images ({kind}), {listing.path}")


def judges(data_dir: Path | None) -> Lines:
    """The judges: whether their weights are here, and how often they are right. Nothing is fetched."""
    from bench.datasets import BUILT_IN
    from bench.judges.finding import facenet_here, judge_at_hand
    from bench.judges.known import has_first_choice, how_to_get_facenet

    for dataset in BUILT_IN:
        try:
            judge = judge_at_hand(dataset, data_dir)
        except (BenchError, Unavailable) as error:
            level = "broken" if dataset == DEFAULT else "lacks"
            yield Finding(level, f"{dataset}: {error}", "replace the file")
            continue
        if judge is None:
            advice = f"bench prepare --dataset {dataset} trains it ahead of time"
            yield Finding("lacks", f"{dataset}: its judge has no weights here", advice)
            continue
        facts = judge.metadata
        right = facts.get("accuracy")
        told = f", right on {right:.2%} of the test images" if isinstance(right, float) else ""
        yield Finding("ok", f"{dataset}: {judge.name}{told}, weights {str(facts['weights'])[:19]}")
        if has_first_choice(dataset) and facenet_here(data_dir) is None:
            text = f"{dataset}: FaceNet, the paper's judge, is not here, so {judge.name} judges"
            yield Finding("lacks", text, how_to_get_facenet(dataset))


def methods(plugins: tuple[Path, ...]) -> Lines:
    """Every method that is installed or given: whether it can be loaded, and which packages it lacks."""
    from bench.plugins.registry import describe_all, find_methods

    known = find_methods(plugins)
    ready = []
    for name, answer in describe_all(known.values()).items():
        if isinstance(answer, BenchError):
            yield Finding("lacks", clean(str(answer)), "mend or uninstall it")
        elif answer.absent:
            advice = f"pip install {' '.join(answer.absent)}"
            yield Finding("lacks", f"{name}: {', '.join(answer.absent)} not installed", advice)
        else:
            ready.append(name)
    told = f"ready: {', '.join(ready)}"
    if ready:
        yield Finding("ok", told)
    else:
        yield Finding("broken", "no method can be used", "install bench again: pip install bench")


def other_plugins() -> Lines:
    """Data sets and metrics that others registered."""
    from bench import datasets, metrics

    for kind, found in (("data set", datasets.registered()), ("metric", metrics.registered())):
        for name, entry in found.items():
            try:
                entry.load()
            except Exception as error:
                reason = clean(f"{type(error).__name__}: {error}")
                text = f"{kind} {clean(name)} ({clean(entry.value)}): {reason}"
                yield Finding("lacks", text, "mend or uninstall it")
            else:
                yield Finding("ok", f"{kind} {clean(name)} ({clean(entry.value)})")


def folders(results: Path) -> Lines:
    """Whether results and caches can be written, and how much room there is."""
    for what, folder, remedy in (
        ("results", results, "choose another --results"),
        ("the cache", cache_dir(), "set BENCH_CACHE to another folder"),
    ):
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        free = shutil.disk_usage(there).free / 2**30
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            yield Finding("broken", f"{what}: {folder} cannot be written ({error.strerror})", remedy)
            continue
        enough = free >= 1
        text = f"{what}: {folder}, {free:.0f} GiB free" if enough else f"{what}: {folder}, hardly any room"
        yield Finding("ok" if enough else "lacks", text, "" if enough else f"make room, or {remedy}")


def caches() -> Lines:
    """What is kept between runs, with its size."""
    root = cache_dir()
    found = sorted(root.iterdir()) if root.is_dir() else []
    for path in found:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files) / 1e6
        told = "; can be deleted, is made again" if path.name in MADE_AGAIN else ""
        yield Finding("ok", f"{clean(path.name)}: {size:,.0f} MB{told}")
    if not found:
        yield Finding("ok", f"{root} holds nothing yet")


def latex() -> Lines:
    """Whether the written tables can be compiled here."""
    found = [program for program in LATEX if shutil.which(program)]
    if found:
        yield Finding("ok", f"{found[0]} compiles the tables")
    else:
        advice = "if you want that: install TeX Live or Tectonic"
        yield Finding("lacks", "no LaTeX: tables are written, but cannot be compiled here", advice)
