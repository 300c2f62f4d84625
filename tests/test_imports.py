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
PACKAGES = ("bench", "methods", "classifiers")

CONTRACT = {"images", "imputer"}
ANYBODY = CONTRACT | {"settings", "errors", "__version__"}

FLOORS = (
    {"util"},
    {"datasets", "plugins", "store"},
    {"problem", "judges"},
    {"metrics", "grid"},
    {"run"},
    {"review"},
    {"api", "cli"},
)
"""The rooms of the harness. A room imports from the floors below its own, and from no room beside it."""

SPECIAL = {
    "classifiers": {"classifiers"},
    "methods": {"methods"} | CONTRACT,
    "report": {"report", "store", "datasets", "util"} | ANYBODY,
}
"""What the rooms that stand on no floor may import."""

USE_CLASSIFIERS = ("datasets", "judges", "metrics", "run", "review")
ALSO = {room: {"classifiers"} for room in USE_CLASSIFIERS} | {"cli": {"report"}}
"""What a room may import beside the floors below."""


def allowed(room: str) -> set[str]:
    """The rooms that a room may import from."""
    if room in SPECIAL:
        return SPECIAL[room]
    if room in ANYBODY or room in ("__init__", "__main__"):
        return ANYBODY | ({"cli"} if room == "__main__" else set())
    floor = next((number for number, rooms in enumerate(FLOORS) if room in rooms), None)
    assert floor is not None, f"bench/{room} is new: give it a floor"
    return {room, *ANYBODY, *ALSO.get(room, ())}.union(*FLOORS[:floor])


def files(root: Path = ROOT) -> dict[str, Path]:
    """Every module's file by its name; the links in `bench` are passed over, not what they lead to."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            found[name if package == "bench" else f"bench.{name}"] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """The names that a file imports, wherever in it: "bench.images.MaskedImages", ..."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name} imports relatively"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    return f"{module}.__init__".split(".")[1]


def faults(root: Path = ROOT) -> list[str]:
    """Every import that goes up, or sideways into another room."""
    return [
        f"{module} imports {name}"
        for module, path in files(root).items()
        for name in imported(path)
        if name.partition(".")[0] == "bench" and room_of(name) not in allowed(room_of(module))
    ]


def circles(root: Path = ROOT) -> list[list[str]]:
    """The circles of imports, one each, those inside functions counted too."""
    modules = files(root)
    imports: dict[str, set[str]] = {
        module: {
            known
            for name in imported(path)
            for known in (name, name.rpartition(".")[0])
            if known in modules and known != module
        }
        for module, path in modules.items()
    }
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            found.append([*way[way.index(module) :], module])
        elif module not in done:
            for name in sorted(imports[module]):
                visit(name, [*way, module])
            done.add(module)

    for module in modules:
        visit(module, [])
    return found


def test_every_import_goes_down() -> None:
    assert len(files()) > 100
    assert faults() == []


def test_there_is_no_circle_of_imports() -> None:
    assert circles() == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("bench/util/planted.py", "from bench.store.results import Result"),
        ("bench/datasets/planted.py", "def late():\n    from bench.plugins import registry"),
        ("bench/run/planted.py", "import bench.methods.mean"),
        ("bench/report/planted.py", "from bench.grid.cell import Cell"),
        ("methods/planted.py", "from bench.problem.posing import pose"),
        ("classifiers/planted.py", "from bench.errors import BenchError"),
    ],
)
def test_a_planted_import_that_goes_up_is_found(tmp_path: Path, path: str, line: str) -> None:
    planted = tmp_path / path
    planted.parent.mkdir(parents=True)
    planted.write_text(line)
    assert len(faults(tmp_path)) == 1


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "bench" / "util"
    folder.mkdir(parents=True)
    (folder / "one.py").write_text("from bench.util import two")
    (folder / "two.py").write_text("def late():\n    from bench.util.one import something")
    assert circles(tmp_path) == [["bench.util.one", "bench.util.two", "bench.util.one"]]


# Pickle runs code from the file that it reads. The two exceptions read files that others publish: FaceNet's
# weights with weights_only=True, and CIFAR-10's batches once their checksums are the published ones.
MAY_UNPICKLE = {"bench/datasets/cifar10.py": "md5", "classifiers/facenet.py": "weights_only=True"}


def test_nothing_is_unpickled_but_two_checked_files() -> None:
    for path in files().values():
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
