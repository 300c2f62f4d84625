"""Each test of the judges has an empty cache, and no weights but those that come with the package."""

from pathlib import Path

import pytest

from bench.judges import finding


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    finding._judge_for.cache_clear()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("BENCH_FACENET", raising=False)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    return tmp_path / "cache"
