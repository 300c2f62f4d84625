"""Suites: what they may hold, what their faults are called, and who has the last word."""

from __future__ import annotations

import contextlib
import io
import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.cli import main
from bench.errors import BenchError
from bench.grid.suites import Content, find_suite, read_suite, shipped

ROOT = Path(__file__).parents[3]
SUITE = """\
description: a test's
methods: [mean, nearest]
datasets: [mnist, own/images.npz]
mechanisms: ["patch:side=3", rows]
rates: [0.5, 0.75]
seeds: [3]
preset: smoke
train: 40
test: 30
set:
  nearest: {}
plugins: [more/extra.py]
timeout: 60
threads: 1
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_what_is_written(tmp_path: Path) -> None:
    suite = read_suite(str(write(tmp_path, SUITE)))
    assert suite.name == "own.yaml" and suite.hash.startswith("sha256:")
    content = suite.content
    assert content.methods == ["mean", "nearest"] and content.rates == [0.5, 0.75] and content.seeds == [3]
    assert content.mechanisms == ["patch:side=3", "rows"]
    assert (content.preset, content.train, content.test, content.timeout) == ("smoke", 40, 30, 60.0)
    # Paths are seen from the suite's own folder, names stay names.
    assert content.datasets == ["mnist", str(tmp_path / "own/images.npz")]
    assert content.plugins == [str(tmp_path / "more/extra.py")]


def test_a_folder_beside_a_suite_is_a_path_unless_a_data_set_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("digits", "nowhere:load", "bench.datasets")
    monkeypatch.setattr("bench.datasets.entry_points", lambda group: [point])
    for name in ("faces", "mnist", "digits"):
        (tmp_path / name).mkdir()
    content = read_suite(str(write(tmp_path, "datasets: [faces, mnist, digits, elsewhere]"))).content
    assert content.datasets == [str(tmp_path / "faces"), "mnist", "digits", "elsewhere"]


def test_the_paper_s_grid_has_its_48_cells() -> None:
    """4 methods, 3 data sets, 4 rates: the rows and columns of Tables 1 to 3."""
    content = read_suite("paper").content
    assert content.methods and content.datasets and content.rates and content.seeds
    assert {*content.methods} == {"misgan", "pbigan", "mcflow", "prflow"}
    assert {*content.datasets} == {"mnist", "cifar10", "celeba"}
    assert content.rates == [0.6, 0.7, 0.8, 0.9] and len(content.seeds) == 1
    assert content.preset == "paper" and content.train is None and content.test is None


def test_the_shipped_suites_are_those_of_the_checkout() -> None:
    files = {path.stem: path.read_bytes() for path in (ROOT / "suites").glob("*.yaml")}
    assert {name: path.read_bytes() for name, path in shipped().items()} == files
    assert set(files) == {"paper", "quick"}
    assert find_suite("quick.yaml") == find_suite("quick")


def plan(*arguments: str) -> tuple[int, str]:
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        pytest.raises(SystemExit) as left,
    ):
        main(["plan", *arguments])
    return int(left.value.code or 0), printed.getvalue()


def test_the_command_line_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, "methods: [mean]\ndatasets: [mnist]\nrates: [0.5, 0.75]\ntrain: 40\ntest: 30\n")
    status, printed = plan("--suite", str(path))
    assert status == 0
    cells = [line.split()[2:] for line in printed.splitlines()[:2]]
    assert cells == [["mean@train=40,test=30", "mnist", f"pixel-{rate}", "seed", "0"] for rate in (0.5, 0.75)]
    status, printed = plan("--suite", str(path), "--rates", "0.25", "--train", "20", "--seeds", "7")
    assert status == 0
    (cell,) = (line.split()[2:] for line in printed.splitlines() if "mnist" in line)
    assert cell == ["mean@train=20,test=30", "mnist", "pixel-0.25", "seed", "7"]


def test_settings_of_both_are_joined_and_the_command_line_s_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = "set:\n  prflow:\n    alpha: 0.5\n    epochs: 3\n    learning_rate: 1e-3\n"
    path = write(tmp_path, f"methods: [prflow]\ndatasets: [mnist]\nrates: [0.5]\n{given}")
    status, printed = plan("--suite", str(path), "--set", "prflow.epochs=2")
    assert status == 0
    assert "prflow@alpha=0.5,epochs=2,learning_rate=0.001 mnist" in printed


def test_a_result_says_who_asked_for_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    code = (
        "from dataclasses import dataclass\nimport torch\nfrom bench.imputer import Imputer\n\n"
        "@dataclass\nclass Extra(Imputer):\n    low: float = 0.0\n    high: float = 1.0\n"
        "    def fit(self, train, context):\n        pass\n"
        "    def impute(self, images):\n        return torch.full(images.pixels.shape, self.low)\n"
    )
    (tmp_path / "more" / "extra.py").write_text(code)
    text = "methods: [extra]\nplugins: [extra.py]\ndatasets: [mnist]\nrates: [0.5]\ntrain: 20\ntest: 10\n"
    path = tmp_path / "more" / "own.yaml"
    path.write_text(text + "threads: 1\nset:\n  extra:\n    low: 0.25\n    high: 0.5\n")
    with pytest.raises(SystemExit) as left:
        main(["run", "--suite", str(path), "--test", "12", "--device", "cpu", "--set", "extra.high=0.75"])
    assert left.value.code == 0
    (result,) = (json.loads(found.read_text()) for found in tmp_path.rglob("result.json"))
    assert result["cell"]["settings"] == {"low": 0.25, "high": 0.75}
    assert result["problem"]["test"] == 12
    assert result["asked"]["suite"] == {"name": "own.yaml", "hash": read_suite(str(path)).hash}
    origins = result["asked"]["from"]
    told = {name: origins[name] for name in ("methods", "train", "test", "seeds", "threads", "device")}
    assert told == {
        "methods": "suite",
        "train": "suite",
        "test": "command line",
        "seeds": "default",
        "threads": "suite",
        "device": "command line",
    }
    assert (origins["set.low"], origins["set.high"]) == ("suite", "command line")


TEXT = st.text(max_size=20)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.dates() | st.binary(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def check_survives(folder: Path, content: bytes) -> None:
    """The suite is read, or refused on one printable line."""
    path = folder / "fuzz.yaml"
    path.write_bytes(content)
    try:
        read_suite(str(path))
    except BenchError as error:
        assert str(error).isprintable()


@given(content=st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_a_suite_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    check_survives(tmp_path_factory.getbasetemp(), content)


@given(content=st.text(alphabet="abx019.:-[]{}&*!|>#'\"%@? \n\t,<~", max_size=60))
@settings(max_examples=400)
def test_anything_that_looks_like_yaml_is_a_suite_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: str
) -> None:
    check_survives(tmp_path_factory.getbasetemp(), content.encode())


@given(
    document=st.dictionaries(st.sampled_from([*Content.model_fields]) | TEXT, ANY, max_size=4)
    | st.fixed_dictionaries(
        {"set": st.dictionaries(TEXT, st.dictionaries(TEXT, ANY, max_size=2), max_size=2)}
    )
)
@settings(max_examples=300)
def test_any_document_is_a_suite_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, document: object
) -> None:
    check_survives(tmp_path_factory.getbasetemp(), yaml.safe_dump(document).encode())
