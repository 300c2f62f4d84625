"""bench figure as a user calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from tests.bench.report.pictured import store_with_images
from tests.bench.report.stored import failed, result, store


def call(*arguments: str | Path) -> int:
    """The exit status of `bench figure`."""
    with pytest.raises(SystemExit) as ended:
        main(["figure", *(str(argument) for argument in arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    documents = [
        result(method, rate=rate, fit={"history": [{"J": 2.0}, {"J": 1.0}]} if method == "prflow" else {})
        for method in ("prflow", "mcflow", "mean")
        for rate in (0.6, 0.9)
    ]
    return store_with_images(tmp_path_factory.mktemp("figures") / "runs", *documents)


def test_draws_every_kind(root: Path, tmp_path: Path) -> None:
    assert call("--results", root, "--output", tmp_path, "--format", "png", "--count", "1") == 0
    assert {path.name for path in (tmp_path / "pixel-quick").glob("*.png")} == {
        "errors-mnist-0.6-0.9.png",
        "images-mnist-0.6.png",
        "images-mnist-0.9.png",
        "training-mnist.png",
        "rates.png",
        "cost.png",
        "ranks-rmse.png",
        "ranks-fid.png",
        "ranks-scc.png",
    }


def test_draws_what_is_asked_for(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["images", "--rates", "0.9", "--methods", "prflow", "--images", "3,1", "--format", "pdf"]
    assert call(*chosen, "--results", root, "--output", tmp_path) == 0
    assert [path.name for path in sorted(tmp_path.rglob("*.*"))] == [
        "images-mnist-0.9.pdf",
        "images-mnist-0.9.txt",
    ]
    caption = (tmp_path / "pixel-quick" / "images-mnist-0.9.txt").read_text(encoding="utf-8")
    assert "Test images 300, 100, as asked for." in caption
    assert "images-mnist-0.9.pdf" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["erors"], "unknown kind of figure 'erors'; did you mean 'errors'?"),
        (["--format", "jpg"], "'jpg'"),
        (["--format", ""], "--format names no format; there is: png, pdf"),
        (["--output", "/dev/null/figures", "--format", "png"], "choose another --output"),
        (["errors", "--images", "3,99"], "image 99 is not stored; choose from 0 to 11"),
        (["errors", "--images", "three"], "--images 'three' must be whole numbers"),
        (["--rates", "0.7"], "no result at rate 0.7; there is: 0.6, 0.9"),
        (["--methods", "nobody"], "no result of method 'nobody'"),
        (["errors", "--seed", "5"], "no result with seed 5; there is: "),
        (["errors", "--count", "12"], "48 rows of 4 pictures do not fit on a page; give a smaller --count"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert call(*arguments, "--results", root) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1


def test_results_without_numbers_or_images_are_nothing_to_draw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--results", store(tmp_path / "runs", failed("prflow", "it broke"))) == 2
    assert "nothing to draw" in capsys.readouterr().err
    assert call("--results", tmp_path / "nowhere") == 2
    assert "make some with: bench run" in capsys.readouterr().err


def test_torch_is_not_imported(root: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from bench.cli import cli\n"
        f"cli.main(['figure', 'cost', '--results', {str(root)!r}, '--output', {str(tmp_path)!r}], "
        "standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
