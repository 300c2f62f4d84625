"""Bad input of every kind: exit status 2 and one line, or a failed row; nothing stored is touched."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from pathlib import Path

import pytest

from bench.cli import main
from tests.bench.cli.bad_input import CELL, CONTRADICTIONS, REFUSED, ROWS
from tests.bench.report.stored import result
from tests.plugin_files import code_of

KEPT = "mnist/pixel-0.7/nearest/seed-0"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a result that must outlive whatever happens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(cache))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    return tmp_path


def call(line: str) -> tuple[int, str, str]:
    """The command line in this process: the exit status, what it printed, what it complained of."""
    printed, complained = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(complained),
        pytest.raises(SystemExit) as left,
    ):
        main(shlex.split(line))
    return int(left.value.code or 0), printed.getvalue(), complained.getvalue()


def keep(folder: Path) -> Path:
    path = folder / "results" / "runs" / KEPT / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(result("nearest", rate=0.7)))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_call_without_a_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([])
    told = capsys.readouterr().err
    assert left.value.code == 2 and not told.startswith("error")
    assert "\n  run " in told and "\n  table " in told


def test_there_are_at_least_forty_kinds() -> None:
    assert len(REFUSED) + len(CONTRADICTIONS) + len(ROWS) >= 40


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_line_and_nothing_is_lost(folder: Path, name: str) -> None:
    setup, line, message = REFUSED[name]
    if name != "results: none":
        keep(folder)
    setup(folder)
    before = contents(folder)
    status, printed, complained = call(line)
    assert status == 2, (printed, complained)
    assert message in complained
    # A cell that was begun before its results could not be written has said so.
    errors = [told for told in complained.splitlines() if not told.startswith(("warning: ", "[1/1] "))]
    assert len(errors) == 1 and errors[0].startswith("error: ") and errors[0].isprintable()
    assert contents(folder) == before


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_results_that_contradict_each_other_are_named_and_none_is_copied(folder: Path, name: str) -> None:
    setup, message = CONTRADICTIONS[name]
    keep(folder)
    setup(folder)
    # A good cell beside the bad one is not copied either: all or nothing.
    good = folder / "elsewhere" / KEPT.replace("0.7", "0.6") / "result.json"
    good.parent.mkdir(parents=True)
    good.write_text(json.dumps(result("nearest", rate=0.6)))
    before = contents(folder)
    status, printed, complained = call("merge elsewhere --into results/runs")
    assert status == 1 and not printed
    refused, last = complained.splitlines()
    assert refused.startswith(f"refused: elsewhere/{CELL}: ") and message in refused
    assert last == "nothing was copied: 1 refused"
    assert contents(folder) == before


@pytest.mark.parametrize("command", ["table", "status", f"show {CELL}"])
def test_a_torn_result_is_told_and_the_others_are_shown(folder: Path, command: str) -> None:
    kept = keep(folder)
    torn = folder / "results" / "runs" / CELL / "result.json"
    torn.parent.mkdir(parents=True)
    torn.write_text('{"schema": 1, "status": "ok", "cell": {"met')
    before = kept.read_bytes(), torn.read_bytes()
    status, printed, complained = call(command)
    assert status in (0, 1)
    assert "is not whole JSON" in printed + complained
    assert "Traceback" not in printed + complained
    assert (kept.read_bytes(), torn.read_bytes()) == before


def test_methods_that_misbehave_are_rows_and_the_others_go_on(folder: Path) -> None:
    """One run of them all, with a sound method behind them."""
    kept = keep(folder)
    before = kept.read_bytes()
    for name, (fit, _) in ROWS.items():
        (folder / f"{name}.py").write_text(code_of("own", fit=fit))
    plugins = " ".join(f"--plugin {name}.py" for name in ROWS)
    line = f"run --dataset mnist --train 20 --test 10 --rates 0.8 --device cpu --threads 1 {plugins}"
    status, printed, complained = call(f"{line} --methods {','.join(ROWS)},mean")
    assert status == 1
    assert "Traceback" not in printed + complained and "\x1b" not in printed + complained
    paths = sorted((folder / "results" / "runs").rglob("result.json"))
    found = {document["cell"]["method"]: document for document in map(json.loads, map(Path.read_text, paths))}
    assert found["mean"]["status"] == "ok"
    # Neither tracebacks nor the command line tell others of this machine's folders.
    assert not any(str(folder) in path.read_text() for path in paths)
    for name, (_, message) in ROWS.items():
        assert found[name]["status"] == "failed" and "metrics" not in found[name]
        assert message in found[name]["error"] and "\n" not in found[name]["error"]
        assert sum(f" {name}" in told for told in complained.splitlines() if message in told) == 1
    assert kept.read_bytes() == before


def test_a_torn_result_in_the_place_of_a_cell_is_replaced_by_a_run(folder: Path) -> None:
    line = "run --dataset mnist --methods mean --train 20 --test 10 --rates 0.8 --device cpu --threads 1"
    path = folder / "results" / "runs" / "mnist/pixel-0.8/mean@train=20,test=10/seed-0/result.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": 1,')
    assert call(line)[0] == 0
    assert json.loads(path.read_text())["status"] == "ok"
