"""`python -m benchmarks.same_numbers COMMIT`: note which older code gives the same numbers as today's.

For maintainers, after a change of the methods' code that changes no number. The results that were stored
before such a change then still count. Nobody but you can know that no number has changed: compare the
imputations of COMMIT, the last commit before the change, with today's, bit for bit, before you call this.

Writes `bench/store/same_numbers.json`: by method, the identity of the code in the working tree, and the
identity and the byte hashes of all code in the history of COMMIT that parses to the same as COMMIT's. A
setting that COMMIT's code did not have stands there with its default, which must give the same numbers. What
the file says of the code of COMMIT, or of today's, stays in it. When a change does change a method's numbers,
take the method out of the file.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from bench.plugins.own_modules import PLUGIN
from bench.plugins.registry import GROUP, describe, find_methods
from bench.plugins.source_code import read_code
from bench.store.keys import SAME_NUMBERS

ROOT = Path(__file__).parents[1]
EXPERIMENTS = "results/experiments"
"""Its plugin files are part of the record, so they are methods here too."""

PLACES = ("bench/methods", "methods")
"""Where the methods' package lay in the course of the history."""


@dataclass(frozen=True)
class Tree:
    """The methods' code as it was at one commit.

    Attributes:
        root: the folder that it is unpacked in.
        package: the dotted name of the methods' package then.
    """

    root: Path
    package: str

    def file(self, name: str) -> Path | None:
        """The file of an own module then, whichever of its names is given."""
        if name.startswith(f"{PLUGIN}:"):
            path = self.root / name.removeprefix(f"{PLUGIN}:")
            return path if path.is_file() else None
        for package in ("bench.methods", "methods"):
            if f"{name}.".startswith(f"{package}."):
                place = self.root / "methods" / Path(*name.removeprefix(package).split("."))
                found = (place.with_name(f"{place.name}.py"), place / "__init__.py")
                return next((path for path in found if path.is_file()), None)
        return None

    def methods(self) -> dict[str, tuple[str, str]]:
        """By name: the module and the class of each method."""
        project = tomllib.loads((self.root / "pyproject.toml").read_text())["project"]
        points = project.get("entry-points", {}).get(GROUP, {})
        found = {name: (point.partition(":")[0], point.partition(":")[2]) for name, point in points.items()}
        for path in sorted((self.root / EXPERIMENTS).glob("*/*.py")):
            classes = [
                node.name for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ClassDef)
            ]
            found[path.stem] = (f"{PLUGIN}:{path.relative_to(self.root)}", classes[-1])
        return {name: place for name, place in found.items() if self.file(place[0])}

    def identity(self, module: str, name: str) -> str:
        """The identity of a method's code."""
        return read_code(module, name, self.file).identity

    def fields(self, module: str, name: str) -> set[str]:
        """All annotated names in the classes that a method's code holds: its settings, and more."""
        trees = [ast.parse(Path(file).read_bytes()) for file in read_code(module, name, self.file).files]
        return {
            line.target.id
            for tree in trees
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for line in node.body
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        }

    def byte_hashes(self, module: str) -> set[str]:
        """What schema 1 held in the place of the identity: a hash of the bytes of all files imported.

        The files were taken in the order of their paths. A plugin file may have lain anywhere, so it came
        before or after the methods' package.
        """
        files: set[Path] = set()
        self._import(module, files)
        plugin = [file for file in files if module.startswith(PLUGIN) and file == self.file(module)]
        package = sorted(files.difference(plugin))
        return {_hash_of_bytes(files) for files in ([*plugin, *package], [*package, *plugin])}

    def _import(self, module: str, files: set[Path]) -> None:
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            file = self.file(module if module.startswith(PLUGIN) else ".".join(parts[:count]))
            if file is not None and file not in files:
                files.add(file)
                for name in _imported_at_once(ast.parse(file.read_bytes()).body):
                    self._import(name, files)


def _hash_of_bytes(files: Iterable[Path]) -> str:
    """The hash of schema 1. It must stay as it was then, whatever today's code does."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"sha256:{digest.hexdigest()}"


def _imported_at_once(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The modules that a module imports while it is imported itself, not inside its functions."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and not node.level, "our methods import absolutely"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                continue
            yield from _imported_at_once(
                one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt)
            )


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True).stdout


def unpacked(commit: str, folder: Path) -> Tree | None:
    """The methods' code at a commit, unpacked into a folder; None if there was none yet."""
    paths = [*PLACES, EXPERIMENTS, "pyproject.toml"]
    listed = git("ls-tree", "-r", commit, "--", *paths).decode().splitlines()
    files = [line.partition("\t")[2] for line in listed if line.startswith("100")]
    files = [path for path in files if path.endswith((".py", ".toml"))]
    place = next((place for place in PLACES if any(path.startswith(f"{place}/") for path in files)), None)
    if place is None or "pyproject.toml" not in files:
        return None
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "--", *files))) as archive:
        archive.extractall(folder, filter="data")
    if place != "methods":
        (folder / place).rename(folder / "methods")
    return Tree(folder, place.replace("/", "."))


def history(commit: str) -> Iterator[tuple[str, Tree]]:
    """Every commit up to this one that touched the methods or the experiments' plugins, the newest first."""
    touched = [*PLACES, f"{EXPERIMENTS}/*/*.py"]
    for one in [commit, *git("log", "--format=%H", commit, "--", *touched).decode().split()]:
        with tempfile.TemporaryDirectory() as folder:
            tree = unpacked(one, Path(folder))
            if tree is not None:
                yield one, tree


@dataclass
class Older:
    """A method's code at a commit: its identity, all names for the same code, its classes' fields."""

    identity: str
    fields: set[str]
    names: set[str] = field(default_factory=set)


def older_code(commit: str) -> dict[str, Older]:
    """By method: the code at a commit, with all names of code before it that parses to the same."""
    found: dict[str, Older] = {}
    for _, tree in history(commit):
        for name, (module, class_name) in tree.methods().items():
            identity = tree.identity(module, class_name)
            # The commit itself comes first.
            if name not in found:
                found[name] = Older(identity, tree.fields(module, class_name))
            if identity == found[name].identity:
                found[name].names |= {identity, *tree.byte_hashes(module)}
    return found


@click.command()
@click.argument("commit")
@click.argument("methods", nargs=-1)
def main(commit: str, methods: tuple[str, ...]) -> None:
    """Note that today's code of METHODS gives the same numbers as that of COMMIT. Without METHODS: of all."""
    sources = find_methods(sorted((ROOT / EXPERIMENTS).glob("*/*.py")))
    table = json.loads(SAME_NUMBERS.read_text())
    older = older_code(commit)
    for name in methods or sorted(older.keys() & sources.keys()):
        today = describe(sources[name])
        same = set(older[name].names)
        added = {
            setting: one.default
            for setting, one in today.settings.items()
            if setting not in older[name].fields
        }
        noted = table.get(name)
        if noted and noted["identity"] in (today.source, *same):
            same |= {*noted["same"]}
            added = noted.get("added", {}) | added
        table[name] = {"identity": today.source, "same": sorted(same - {today.source})}
        if added:
            table[name]["added"] = added
        click.echo(f"{name}: {len(table[name]['same'])} older versions give the same numbers")
    SAME_NUMBERS.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
