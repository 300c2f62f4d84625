"""`--methods baselines`: every method that says it is one, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.grid.grid import expand
from bench.plugins.registry import Source
from tests.bench.installed import METHOD


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Source]:
    """Two baselines, a method that says nothing of it, and one that cannot be imported."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    says_so = METHOD.replace("    value: float", "    baseline = True\n    value: float")
    codes = {"grey": says_so, "deep": METHOD, "black": says_so, "broken": "import no_such_module"}
    found = {}
    for name, code in codes.items():
        path = tmp_path / f"{name}.py"
        path.write_text(code)
        found[name] = Source(name, str(path), str(path))
    return found


def test_baselines_stand_in_for_their_names(known: dict[str, Source]) -> None:
    assert expand(["deep", "baselines"], known) == ["deep", "grey", "black"]


def test_each_method_runs_once(known: dict[str, Source]) -> None:
    assert expand(["black", "baselines", "deep", "deep"], known) == ["black", "grey", "deep"]


def test_a_misspelt_group_gets_the_nearest_name(known: dict[str, Source]) -> None:
    with pytest.raises(BenchError, match="did you mean 'baselines'"):
        expand(["baseline"], known)
