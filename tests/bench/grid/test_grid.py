"""A grid refuses a method whose settings could apply to no data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.grid.grid import Grid
from tests.plugin_files import code_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def grid_of(folder: Path, code: str, dataset: str = "mnist") -> Grid:
    file = folder / "mine.py"
    file.write_text(code)
    return Grid(["mine"], [dataset], [0.8], [0], "smoke", train=20, test=10, plugins=[file])


@pytest.mark.parametrize(
    ("name", "meant"), [("MNIST", "mnist"), ("mnsit", "mnist"), ("CIFAR-10", "cifar10"), ("CelebA", "celeba")]
)
@pytest.mark.parametrize("place", ['{"tiny"', '{"smoke"'])
def test_settings_for_a_misspelt_data_set_are_refused(
    tmp_path: Path, name: str, meant: str, place: str
) -> None:
    key = name if "tiny" in place else f"smoke/{name}"
    code = code_of("described").replace(place, f'{{"{key}"')
    with pytest.raises(BenchError) as refused:
        grid_of(tmp_path, code).cells()
    assert str(refused.value) == (
        f"the method 'mine' has settings for an unknown data set {name!r}; did you mean {meant!r}?"
    )


@pytest.mark.parametrize("name", ["mnist", "tiny", "emnist", "cifar100"])
def test_settings_for_anybody_s_own_images_are_taken(tmp_path: Path, name: str) -> None:
    code = code_of("described").replace('"tiny"', f'"{name}"')
    (cell,) = grid_of(tmp_path, code).cells()
    assert cell.settings["bold"] is (name == "mnist")
