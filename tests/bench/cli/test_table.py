"""bench table as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from tests.bench.report.stored import failed, result, store


def call(*arguments: str | Path) -> int:
    """The exit status of `bench table`."""
    with pytest.raises(SystemExit) as ended:
        main(["table", *(str(argument) for argument in arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def root(tmp_path: Path) -> Path:
    smoke = result("prflow", cell=result("prflow")["cell"] | {"preset": "smoke"})
    return store(tmp_path / "runs", result("prflow"), result("mcflow"), result("prflow", "cifar10"), smoke)


def test_prints_and_writes_every_format(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--results", root) == 0
    out = capsys.readouterr().out
    written = [Path(line.removeprefix("wrote ")) for line in out.splitlines() if line.startswith("wrote ")]
    names = {str(path.relative_to(root / "tables")) for path in written}
    tables = {
        f"pixel-{preset}/{name}" for preset in ("quick", "smoke") for name in ("rmse", "fid", "scc", "cost")
    }
    expected = {f"{name}.{kind}" for name in tables for kind in ("csv", "tex")}
    assert names == expected | {"long.csv", "tables.tex", "tables.md", "citations.bib"}
    assert all(path.read_text(encoding="utf-8") for path in written)
    for title in ("Table 1: RMSE", "Table 2: FID", "Table 3: SCC", "Table 4: Cost"):
        assert out.count(title) == 2


def test_writes_the_chosen_formats_where_it_is_told(root: Path, tmp_path: Path) -> None:
    assert call("--results", root, "--output", tmp_path / "out", "--format", "markdown") == 0
    assert {path.name for path in (tmp_path / "out").rglob("*")} == {"tables.md", ".written"}
    assert not (root / "tables").exists()


def test_what_an_earlier_call_wrote_and_this_one_does_not_is_removed(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call("--results", root, "--output", out) == 0
    (out / "pixel-smoke/mine.tex").write_text("")
    (out / "mine.tex").write_text("")
    (tmp_path / "outside").write_text("")
    with (out / ".written").open("a") as note:
        note.write(f"../outside\n{tmp_path / 'outside'}\npixel-quick\n\n\0\n")
    assert call("--results", root, "--output", out, "--preset", "smoke", "--format", "csv") == 0
    tables = {f"pixel-smoke/{name}.csv" for name in ("rmse", "fid", "scc", "cost")}
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == tables | {"long.csv", "pixel-smoke/mine.tex", "mine.tex", ".written"}
    assert not (out / "pixel-quick").exists() and (tmp_path / "outside").exists()


def test_compares_with_what_is_published(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--results", root, "--compare", "published", "--preset", "quick", "--dataset", "mnist") == 0
    out = capsys.readouterr().out
    assert "0.1490" in out and "+0.0110" in out


def test_shows_what_is_asked_for(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        call("--results", root, "--preset", "quick", "--dataset", "mnist", "--methods", "prflow, mcflow") == 0
    )
    out = capsys.readouterr().out
    assert "PRFlow" in out and "MCFlow" in out
    assert "smoke" not in out and "CIFAR" not in out


def test_a_checkout_without_runs_shows_the_measured_results(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    root.rename("results/measured")
    assert call() == 0
    shown = capsys.readouterr()
    assert "MCFlow" in shown.out
    assert shown.err == "results/runs has no results yet; these are the measured ones in results/measured\n"
    assert not Path("results/measured/tables").exists()

    store(Path("results/runs"), result("prflow"))
    assert call() == 0
    shown = capsys.readouterr()
    assert "MCFlow" not in shown.out and not shown.err


def test_a_folder_named_by_the_user_is_the_one_that_is_read(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    root.rename("results/measured")
    assert call("--results", "elsewhere") == 2
    assert "no results below elsewhere" in capsys.readouterr().err


def test_names_mean_what_they_mean_to_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = [result("linear", "faces", display={"baseline": True}), result("prflow", "faces")]
    root = store(tmp_path, *own, result("prflow"))
    assert call("--results", root, "--methods", "baselines", "--dataset", "somewhere/faces.npz") == 0
    out = capsys.readouterr().out
    assert "linear" in out and "faces" in out
    assert "PRFlow" not in out.split("Table 2")[0].split("Table 1")[1] and "MNIST" not in out


def test_the_committed_tables_are_those_of_the_committed_results(tmp_path: Path) -> None:
    committed = Path(__file__).parents[3] / "results/measured"
    assert call("--results", committed, "--compare", "published", "--output", tmp_path) == 0
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.*")}
    kept = {name: (committed / "tables" / name).read_text() for name in made}
    here = f"{committed}/"
    assert {name: text.replace(here, "results/measured/") for name, text in made.items()} == kept


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--methods", "misgan"], "no result of method 'misgan'"),
        (["--dataset", "celeba"], "no result of data set 'celeba'"),
        (["--preset", "paper"], "there is: quick, smoke"),
        (["--format", "latx"], "did you mean 'latex'?"),
        (["--compare", "nobody"], "published"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(
    root: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--results", root, *arguments) == 2
    err = capsys.readouterr().err
    assert complaint in err and err.count("\n") == 1


def test_no_results_says_where_it_looked_and_how_to_make_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--results", tmp_path / "nowhere") == 2
    err = capsys.readouterr().err
    assert "nowhere" in err and "bench run" in err


def test_a_failed_cell_gives_status_1_and_its_reason(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(root, failed("misgan", "critic diverged"))
    assert call("--results", root) == 1
    assert "failed: critic diverged" in capsys.readouterr().out


def test_a_torn_file_is_a_warning(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torn = root / "mnist" / "result.json"
    torn.write_text('{"schema": 1, "sta')
    assert call("--results", root) == 0
    assert capsys.readouterr().err == f"warning: {torn} is not whole JSON; left out\n"


@pytest.mark.parametrize("mechanism", ["../../escape", "a/b", "\\", "…", "x" * 300])
def test_a_name_from_a_file_never_leaves_the_output(tmp_path: Path, mechanism: str) -> None:
    document = result("prflow")
    document["cell"]["mechanism"] = mechanism
    folder = tmp_path / "runs" / "cell"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(document))
    assert call("--results", tmp_path / "runs", "--output", tmp_path / "out" / "deep") == 0
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    outside = {path for path in files if tmp_path / "out" / "deep" not in path.parents}
    assert outside == {folder / "result.json"}


def test_an_output_that_cannot_be_written_is_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "file").write_text("")
    assert call("--results", root, "--output", root / "file") == 2
    assert "choose another --output" in capsys.readouterr().err


def child(root: Path, code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run code in a fresh interpreter; its first argument is the results' root."""
    command = [sys.executable, "-c", code, str(root)]
    return subprocess.run(command, capture_output=True, env=os.environ | environment)


CALL = """
import sys
from bench.cli import main
try:
    main(["table", "--results", sys.argv[1]])
except SystemExit:
    pass
"""


def test_imports_no_torch(root: Path) -> None:
    done = child(root, CALL + "sys.exit(len({'torch', 'methods'} & set(sys.modules)))")
    assert done.returncode == 0, done.stderr.decode()
    assert b"Table 1" in done.stdout


def test_an_output_without_unicode_gets_the_table_too(root: Path) -> None:
    store(root, failed("misgan", "critic diverged"))
    done = child(root, CALL, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr.decode()
    assert b"Table 3" in done.stdout and done.stdout.isascii()
