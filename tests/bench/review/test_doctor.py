"""`bench doctor`: a sound machine passes, and each shortcoming comes with what to do about it."""

from __future__ import annotations

import contextlib
import io
import shutil
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest

from bench.classifiers import weights
from bench.cli import main
from bench.datasets.mnist import FILES, PACKAGED
from bench.judges import finding
from bench.review.doctor import caches, data, diagnose, folders, judges, latex, methods
from tests.bench.installed import bench, install


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BENCH_DATA", "BENCH_FACENET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where methods are asked about themselves once for all tests."""
    return tmp_path_factory.mktemp("cache")


def test_a_sound_machine_passes(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(shared_cache))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as left:
        main(["doctor"])
    lines = printed.getvalue().splitlines()
    assert left.value.code == 0, lines
    assert lines[-1] == "everything that the default run needs is there"
    for topic in ("versions", "extras", "devices", "data", "judges", "methods", "folders", "caches", "latex"):
        assert topic in lines
    # Whatever is lacking comes with what to do about it.
    lacking = [line for line in lines if line.startswith("  lacks")]
    assert lacking and all(" -> " in line for line in lacking)
    # Nothing was fetched or trained.
    assert not (shared_cache / "judges").exists() and not (shared_cache / "decoded").exists()


def test_damaged_digits_are_broken(tmp_path: Path) -> None:
    for name in FILES:
        shutil.copy(PACKAGED / f"{name}.gz", tmp_path)
    damaged = tmp_path / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    broken = [finding for finding in data(tmp_path) if finding.level == "broken"]
    assert len(broken) == 1 and "t10k-labels-idx1-ubyte.gz" in broken[0].text


def test_a_data_folder_that_is_not_there_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "/nowhere/data")
    before = ("versions", "extras", "devices")
    rest = dropwhile(lambda each: each[0] in before, diagnose(Path("results"), None, ()))
    found = [finding for _, finding in takewhile(lambda each: each[0] == "data", rest)]
    assert [finding.level for finding in found] == ["broken"] and "BENCH_DATA" in found[0].text


def test_judges_tell_how_often_they_are_right_or_how_to_get_them(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnist, cifar10, celeba, facenet = judges(None)
    assert mnist.level == "ok" and "right on 99." in mnist.text
    assert cifar10.level == "ok" and "% of the test images" in cifar10.text
    assert celeba.level == "ok" and celeba.text.startswith("celeba: FaceResNet, weights sha256:")
    assert facenet.level == "lacks" and "FaceNet, the paper's judge, is not here" in facenet.text
    assert str(own_cache / "judges") in facenet.advice
    monkeypatch.setattr(weights, "PACKAGED", tmp_path / "nothing")
    finding._judge_for.cache_clear()
    _, cifar10, celeba = judges(None)
    assert cifar10.level == "lacks" and "bench prepare --dataset cifar10" in cifar10.advice
    assert celeba.level == "lacks" and "no weights named faceresnet" in celeba.text


def test_a_plugin_that_cannot_be_loaded_is_told(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(shared_cache))
    plugin = tmp_path / "faulty.py"
    plugin.write_text("import no_such_module")
    found = list(methods((plugin,)))
    (lacks,) = (finding for finding in found if finding.level == "lacks")
    assert "faulty" in lacks.text and "no_such_module" in lacks.text and lacks.advice
    assert found[-1].level == "ok" and "prflow" in found[-1].text


def test_metrics_and_data_sets_of_others_are_tried(tmp_path: Path, shared_cache: Path) -> None:
    groups = {"bench.metrics": {"bad": "others:missing"}, "bench.datasets": {"good": "others:load"}}
    install(tmp_path, "others", groups, "def load(folder):\n    pass\n")
    done = bench(tmp_path, "doctor", cache=shared_cache)
    assert done.returncode == 0, done.stderr
    assert "ok      data set good (others:load)" in done.stdout
    assert "lacks   metric bad (others:missing): AttributeError" in done.stdout


def test_a_results_folder_that_cannot_be_written_is_broken() -> None:
    found = list(folders(Path("/proc/nowhere")))
    assert [finding.level for finding in found] == ["broken", "ok"]
    assert "another --results" in found[0].advice


def test_caches_are_told_with_their_sizes(own_cache: Path) -> None:
    (own_cache / "decoded" / "x").mkdir(parents=True)
    (own_cache / "decoded" / "x" / "train.npy").write_bytes(bytes(7_000_000))
    (finding,) = caches()
    assert finding.text == "decoded: 7 MB; can be deleted, is made again"


def test_what_was_fetched_or_trained_is_not_called_made_again(own_cache: Path) -> None:
    for name in ("judges/20180402-114759-vggface2.pt", "celeba/img_align_celeba.zip"):
        (own_cache / name).parent.mkdir(parents=True)
        (own_cache / name).write_bytes(bytes(3_000_000))
    (own_cache / "cifar-10-python.tar.gz").write_bytes(bytes(2_000_000))
    assert [finding.text for finding in caches()] == [
        "celeba: 3 MB",
        "cifar-10-python.tar.gz: 2 MB",
        "judges: 3 MB",
    ]


def test_latex_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert [finding.level for finding in latex()] == ["lacks"]
