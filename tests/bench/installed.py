"""Packages that look installed: a module and its metadata in a folder on the path, nothing more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.plugins.registry import Description, describe, find_methods
from tests.plugin_files import code_of

METHOD = code_of("described")


def install(folder: Path, name: str, groups: Mapping[str, Mapping[str, str]], code: str = "") -> None:
    """Put `name`.py and the metadata of a distribution of that name into a folder.

    Args:
        groups: entry points by group and name.
        code: the module's.
    """
    (folder / f"{name}.py").write_text(code)
    metadata = folder / f"{name}-1.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{entry} = {value}" for entry, value in entries.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")


def bench(
    folder: Path, *arguments: str | Path, cache: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Call the command line in a folder that is also on the path."""
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "BENCH_CACHE": str(cache or folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    call = "import sys; from bench.cli import main; main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", call, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def write(folder: Path, code: str, name: str = "mine") -> Path:
    path = folder / f"{name}.py"
    path.write_text(code)
    return path


def described(path: Path) -> Description:
    return describe(find_methods([path])[path.stem])
