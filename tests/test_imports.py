"""Who may import what: the rules that keep the truth from the methods and the command line quick."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.report.stored import result, store

ROOT = Path(__file__).parents[1]
OURS = ("bench", "methods", "classifiers")


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The names of the modules that a file imports, wherever in it: "bench.images", ..."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name} imports relatively"
            assert node.module is not None
            # "from bench import images" imports bench.images.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> Iterator[str]:
    return (name for name in imported(path) if name.partition(".")[0] in OURS)


@pytest.mark.parametrize("path", files("methods"), ids=lambda path: path.name)
def test_methods_see_only_the_contract_and_each_other(path: Path) -> None:
    allowed = ("bench.images.", "bench.imputer.", "methods.")
    assert [name for name in ours(path) if not f"{name}.".startswith(allowed)] == []


@pytest.mark.parametrize("path", files("classifiers"), ids=lambda path: path.name)
def test_classifiers_use_nothing_of_ours_but_each_other(path: Path) -> None:
    assert [name for name in ours(path) if not name.startswith("classifiers")] == []


def test_bench_never_imports_methods() -> None:
    assert files("bench")
    assert [path for path in files("bench") if any(name.startswith("methods") for name in ours(path))] == []


# Pickle runs code from the file that it reads. The two exceptions read files that others publish: FaceNet's
# weights with weights_only=True, and CIFAR-10's batches once their checksums are the published ones.
MAY_UNPICKLE = {"bench/datasets/cifar10.py": "md5", "classifiers/facenet.py": "weights_only=True"}


@pytest.mark.parametrize("package", OURS)
def test_nothing_is_unpickled_but_two_checked_files(package: str) -> None:
    for path in files(package):
        code = path.read_text()
        tree = ast.parse(code)
        attributes = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        modules = {name.partition(".")[0] for name in imported(path)}
        unpickles = (
            modules & {"pickle", "cloudpickle", "dill", "joblib", "shelve"} or "torch.load" in attributes
        )
        name = str(path.relative_to(ROOT))
        assert not unpickles or MAY_UNPICKLE.get(name, "\0") in code, name
        assert "allow_pickle=True" not in code, name


CALL = """
import sys
from bench.cli import main
try:
    main(sys.argv[1:])
except SystemExit as left:
    assert not left.code, left.code
heavy = sorted({"torch", "torchvision", "sklearn", "skimage"} & set(sys.modules))
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "command", ["--help", "methods", "methods", "table", "report", "run --help", "check --help", "plan"]
)
def test_what_only_reads_imports_no_torch(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, command: str
) -> None:
    cache = tmp_path_factory.getbasetemp() / "described"
    arguments = command.split()
    if command == "plan":
        arguments += ["--methods", "mean", "--dataset", "mnist"]
    if command in ("table", "report"):
        arguments += ["--results", str(store(tmp_path / "runs", result("prflow"), result("mcflow")))]
    done = subprocess.run(
        [sys.executable, "-c", CALL, *arguments],
        env=os.environ | {"BENCH_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
