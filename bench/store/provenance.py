"""Where a number comes from: versions, commit, machine."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.util.cache import cache_dir

# The folders of an absolute path, or of one from a home; not those of a URL or of a relative path.
_FOLDERS = re.compile(r"(?<![\w.:/~-])~?/(?:[^\s/\"',:;=()<>]+/)+")
_SOURCES = re.compile(
    rf"(?<![\w.:/~-])(?:/(?:[^\s/\"']+/)*?site-packages/|{re.escape(str(Path(__file__).parents[2]))}/)"
)

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "torch-fidelity")


def provenance(device: str, threads: int, precision: str) -> dict[str, Any]:
    """What a result records of its origin, as JSON.

    Args:
        device: where the method computed, such as "cpu" or "cuda".
        threads: how many CPU threads it had.
        precision: of its matrix products.
    """
    return {
        **_software(),
        "machine": {
            "cpu": _cpu(),
            "gpu": _gpu() if device.startswith("cuda") else None,
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
        "device": device,
        "threads": threads,
        "precision": precision,
    }


def rescoring(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a result that is scored again now: its own, and where the new numbers come from."""
    return {**recorded, "rescored": _software()}


def _software() -> dict[str, Any]:
    """The code that runs, and when and how it was called."""
    from bench import __version__

    return {
        "bench": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _git("rev-parse", "HEAD"),
        "clean": _git("status", "--porcelain") == "",
        "command": command(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def command() -> str:
    """The command line that this process was called with, as a shell takes it."""
    return shlex.join(["bench", *sys.argv[1:]])


def without_places(value: Any) -> Any:
    """The value without the folders of this machine in its texts, because others will read the result.

    The cache folder becomes CACHE. Of a source file's path, only what follows the package's folder is kept.
    In the path of any other file, the folders become "...".

    Args:
        value: JSON.
    """
    if isinstance(value, str):
        cache = re.escape(str(cache_dir().absolute()))
        value = re.sub(rf"{cache}(?=/|\b)", "CACHE", value)
        return _FOLDERS.sub(".../", _SOURCES.sub("", value))
    if isinstance(value, dict):
        return {name: without_places(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(part) for part in value]
    return value


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says of the source tree that runs; None if it does not run from one."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({len(names)} cores)" if names else platform.processor()


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name()
