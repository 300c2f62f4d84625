from __future__ import annotations

import subprocess
import sys
import types
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.datasets import cifar10, load
from bench.errors import Unavailable


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


@pytest.fixture(autouse=True)
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands for the judges; remembers for which data sets one was asked."""
    asked: list[Any] = []
    module: Any = types.ModuleType("bench.judges.finding")

    def judge_for(name: str, data_dir: Path | None) -> Any:
        asked.append((name, data_dir))
        return types.SimpleNamespace(name="Judge")

    module.judge_for = judge_for
    module.judge_at_hand = lambda name: object()
    monkeypatch.setitem(sys.modules, "bench.judges.finding", module)
    return asked


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_the_list_says_what_is_found_where(cifar10_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("datasets", "--data-dir", str(cifar10_folder)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "mnist: 60,000 train, 10,000 test, 1x28x28" in lines
    assert "  found     in the package (official files, verified when read)" in lines
    assert "cifar10: 30 train, 30 test, 3x32x32" in lines
    assert f"  found     {cifar10_folder / 'cifar10'} (not the official files)" in lines
    assert "celeba: 100,000 train, 102,599 test, 3x32x32" in lines
    assert "  found     no; `bench prepare` fetches it" in lines
    judges = [line for line in lines if line.startswith("  judge")]
    assert judges == [
        "  judge     LeNet",
        "  judge     ResNet18",
        "  judge     FaceNet where its file is given, else FaceResNet, which comes with the package",
    ]


def test_the_list_goes_on_after_a_damaged_set(
    cifar10_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cifar10_folder / "cifar10/train/cat").rename(cifar10_folder / "cifar10/cat")
    assert call("datasets", "--data-dir", str(cifar10_folder)) == 0
    output = capsys.readouterr().out
    assert "train/cat is missing" in output and "celeba: " in output


def test_the_list_imports_no_torch() -> None:
    code = (
        "import sys; from bench.cli import main\n"
        "try: main(['datasets'])\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_prepare_decodes_and_asks_for_the_judge(
    cifar10_folder: Path,
    judged: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("prepare", "--dataset", "cifar10", "--data-dir", str(cifar10_folder)) == 0
    assert judged == [("cifar10", cifar10_folder)]
    monkeypatch.setattr(cifar10, "read_image", None)
    dataset = load("cifar10", cifar10_folder)
    assert f"30 train, 30 test (not official), {dataset.fingerprint}" in capsys.readouterr().out


@pytest.mark.usefixtures("offline")
def test_prepare_without_a_network_says_which_file_to_put_where(
    cache: Path, tmp_path: Path, judged: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("prepare", "--dataset", "cifar10,mnist") == 1
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith(f"error: {cifar10.ARCHIVE} cannot be downloaded (no network)")
    assert error[0].endswith(f"put it in {cache}")
    assert judged == [("mnist", None)]
    assert call("prepare", "--dataset", "cifar10", "--data-dir", str(tmp_path / "made")) == 1
    assert capsys.readouterr().err.rstrip().endswith(f"put it in {tmp_path / 'made'}")


def test_prepare_takes_no_web_page_for_celeba(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gdown

    def write(id: str, output: str, resume: bool) -> str:
        Path(output).write_bytes(b"<html>too many users</html>")
        return output

    monkeypatch.setattr(gdown, "download", write)
    assert call("prepare", "--dataset", "celeba", "--data-dir", str(tmp_path)) == 1
    assert "img_align_celeba.zip cannot be downloaded (the download is not the published file)" in (
        capsys.readouterr().err
    )
    assert not list((tmp_path / "celeba").iterdir())


def test_prepare_reports_a_judge_that_cannot_be_had(
    cifar10_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str, data_dir: Path | None) -> None:
        raise Unavailable("its weights are not here")

    monkeypatch.setattr(sys.modules["bench.judges.finding"], "judge_for", refuse)
    assert call("prepare", "--dataset", "cifar10", "--data-dir", str(cifar10_folder)) == 1
    assert "error: no judge for cifar10: its weights are not here" in capsys.readouterr().err


def test_prepare_tells_a_file_s_name_without_what_a_terminal_would_obey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own").mkdir()
    for name in ("b\x1b]0;owned\x07X.png", "c.png"):
        Path("own", name).write_bytes(b"no image")
    assert call("prepare", "--dataset", "own") == 1
    assert capsys.readouterr().err == "error: own/bX.png is not a complete image; replace or remove it\n"


def test_prepare_expands_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged: list[Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert call("prepare", "--dataset", "mnist", "--data-dir=~/new") == 0
    assert (tmp_path / "home" / "new").is_dir()
    assert not (tmp_path / "~").exists()
    assert judged == [("mnist", tmp_path / "home" / "new")]


def test_prepare_trains_a_judge_that_is_not_at_hand(
    monkeypatch: pytest.MonkeyPatch, judged: list[Any]
) -> None:
    trained: list[Any] = []
    training: Any = types.ModuleType("bench.judges.training")
    training.train_judge = lambda name, data_dir: trained.append(name)
    monkeypatch.setitem(sys.modules, "bench.judges.training", training)
    monkeypatch.setattr(sys.modules["bench.judges.finding"], "judge_at_hand", lambda name: None)
    assert call("prepare", "--dataset", "mnist") == 0
    assert trained == ["mnist"] and judged == [("mnist", None)]


def test_prepare_takes_a_set_of_one_s_own_without_a_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "bench.judges.finding")
    images = np.zeros((3, 8, 8), np.uint8)
    np.savez(tmp_path / "own.npz", train=images, test=images)
    monkeypatch.chdir(tmp_path)
    assert call("prepare", "--dataset", "own.npz") == 0
    printed = capsys.readouterr()
    assert "own.npz: there is no judge for its images" in printed.out
    assert printed.err == ""


def test_prepare_refuses_an_unknown_name_before_any_work(
    judged: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("prepare", "--dataset", "mnist,cifar") == 2
    assert "did you mean 'cifar10'" in capsys.readouterr().err
    assert not judged
