"""Where data is looked for, and where decoded data is kept."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_dir

from bench.errors import BenchError


def data_folder(data_dir: Path | None = None) -> Path | None:
    """The user's data folder: `data_dir`, or BENCH_DATA, or None where neither is given.

    Raises:
        BenchError: it is not a folder.
    """
    given = str(data_dir) if data_dir is not None else os.environ.get("BENCH_DATA")
    if not given:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        option = "--data-dir" if data_dir is not None else "BENCH_DATA"
        raise BenchError(f"{option} {folder} is not a folder; name one that holds the data")
    return folder


def cache_folder() -> Path:
    """Where downloads and decoded images are kept: BENCH_CACHE, or the user's own. It may not exist yet."""
    return Path(os.environ.get("BENCH_CACHE") or user_cache_dir("bench")).expanduser()
