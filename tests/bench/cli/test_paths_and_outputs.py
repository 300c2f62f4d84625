"""Paths that cannot be used and outputs that cannot be written: one line says what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.grid_options import DataSets
from bench.cli.stored import choose_results
from bench.errors import BenchError
from tests.bench.command import Bench
from tests.bench.report.stored import result, store

CALL = [sys.executable, "-c", "import sys; from bench.cli import main; main(sys.argv[1:])"]
OPTIONS = [
    *([name, "--results"] for name in ("table", "status", "report", "run", "figure", "show", "doctor")),
    *([name, "--output"] for name in ("table", "report", "figure", "train-judge")),
    ["merge", "source", "--into"],
    ["merge", "--into", "new"],
]


@pytest.fixture
def folder(bench: Bench) -> Path:
    store(bench.folder / "source", result("one"))
    (bench.folder / "loop").symlink_to("loop")
    return bench.folder


@pytest.mark.parametrize("arguments", OPTIONS, ids=" ".join)
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "the path is empty"),
        ("loop", "Too many levels of symbolic links"),
        ("loop/in/it", "Too many levels of symbolic links"),
        ("~nobody-has-this-name/x", "no user here has this name"),
        ("x" * 300, "File name too long"),
    ],
)
def test_an_impossible_path_is_refused_in_one_line(
    bench: Bench, folder: Path, arguments: list[str], path: str, why: str
) -> None:
    before = sorted(folder.rglob("*"))
    status, printed = bench.call(*arguments, path)
    assert (status, printed.count("\n")) == (2, 1) and printed.startswith("error: ")
    assert why in printed and sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("arguments", [["table"], ["status"], ["methods", "--help"]], ids=" ".join)
def test_a_full_disk_behind_the_output_is_told_in_one_line(bench: Bench, arguments: list[str]) -> None:
    store(bench.folder / "results" / "runs", result("one"))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*CALL, *arguments], cwd=bench.folder, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("command", ["table", "status"])
def test_a_reader_that_goes_away_ends_the_command_without_a_word(bench: Bench, command: str) -> None:
    store(bench.folder / "results" / "runs", *(result(f"m{number}") for number in range(200)))
    with subprocess.Popen(
        [*CALL, command], cwd=bench.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 1)


def test_a_file_gets_no_sequences_for_a_terminal_even_if_colour_is_forced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(bench.folder / "results" / "runs", result("one"))
    _, plain = bench.call("table")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert bench.call("table") == (0, plain)
    assert "\x1b" not in plain and "one" in plain


def test_a_path_may_hold_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my,own pictures", "a", "b", "a,b"):
        (tmp_path / name).mkdir()
    read = DataSets(str, "data set")
    assert read.convert("mnist,my,own pictures,a", None, None) == ("mnist", "my,own pictures", "a")
    assert read.convert("a, b", None, None) == ("a", "b")
    assert read.convert("gone,mnist,", None, None) == ("gone", "mnist")
    assert len(read.convert(",".join(f"data{number}" for number in range(100)), None, None)) == 100


def test_stored_results_of_a_data_set_with_a_comma_are_chosen(tmp_path: Path) -> None:
    """Also when the folder itself is not there any more."""
    store(tmp_path, result("a", "my,own pictures"), result("a", "mnist"), result("a", "own"))

    def chosen(names: str) -> list[str]:
        return sorted(one.cell.dataset for one in choose_results(tmp_path, None, names, None))

    assert chosen("my,own pictures") == ["my,own pictures"]
    assert chosen("some/where/my,own pictures,mnist") == ["mnist", "my,own pictures"]
    with pytest.raises(BenchError, match=r"no result of data set 'gone' .* mnist, my,own pictures"):
        choose_results(tmp_path, None, "mnist,gone", None)
