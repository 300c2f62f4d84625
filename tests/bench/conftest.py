"""What the tests of the harness share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.command import Bench


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bench(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, cache, monkeypatch)
