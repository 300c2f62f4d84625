"""Which modules are a method's own, and where they lie."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from bench.imputer import Imputer
from bench.plugins.source_code import Code, read_code

OURS = "bench.methods"
"""The package of the methods that come with bench."""

PLUGIN = "bench_plugin"
"""The name of a plugin file's module."""


def own_packages(method: type[Imputer]) -> set[str]:
    """The packages whose code counts as the method's.

    These are the top-level packages of the method and of the classes that it derives from, those that were
    loaded from beside a plugin file, and the package of our methods, which any method may build on.
    """
    lineage = [ancestor for ancestor in method.__mro__ if issubclass(ancestor, Imputer)]
    packages = {OURS} | {_package(ancestor.__module__) for ancestor in lineage}
    beside = _beside(packages)
    if beside:
        packages |= {
            _package(name) for name, module in sys.modules.items() if _lies_below(_file(module), beside)
        }
    return packages - {"bench", "__main__"} - sys.stdlib_module_names


def _package(module: str) -> str:
    """The package that a module belongs to: our methods are one of their own, apart from the harness."""
    return OURS if f"{module}.".startswith(f"{OURS}.") else module.partition(".")[0]


def _beside(packages: set[str]) -> Path | None:
    """The folder of the plugin file; None for a method that comes with a package."""
    return Path(str(sys.modules[PLUGIN].__file__)).resolve().parent if PLUGIN in packages else None


def _file(module: ModuleType) -> str | None:
    return getattr(module, "__file__", None)


def _lies_below(file: str | None, folder: Path) -> bool:
    """Whether a file lies in a folder, and is not part of a package that is installed there."""
    path = Path(file or "/")
    return path.is_relative_to(folder) and not {"site-packages", "dist-packages"} & {*path.parts}


def spec_of(name: str) -> ModuleSpec | None:
    """Where a module would be loaded from. The packages above it are not imported."""
    parent = name.rpartition(".")[0]
    if not parent:
        try:
            return importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
    folders = _folders(parent)
    return importlib.machinery.PathFinder.find_spec(name, folders) if folders else None


def _folders(package: str) -> list[str]:
    """The folders that the modules of a package lie in; empty if the name is not a package's."""
    if package in sys.modules:
        return list(getattr(sys.modules[package], "__path__", ()))
    spec = spec_of(package)
    return list(spec.submodule_search_locations or ()) if spec is not None else []


class OwnModules:
    """Finds a method's own modules. Imports nothing.

    Attributes:
        found: the file of each module that was looked for, by its dotted name; None if it is not an own one.
        absent: paths that were looked for and do not exist. If such a file is made later, the method may have
            other code, although no file of today has changed.
    """

    def __init__(self, method: type[Imputer]) -> None:
        self._packages = own_packages(method)
        self._beside = _beside(self._packages)
        self.found: dict[str, Path | None] = {}
        self.absent: set[str] = set()

    def file(self, name: str) -> Path | None:
        """The file of an own module by its dotted name; None if there is no such module."""
        if name not in self.found:
            self.found[name] = self._search(name) if self._counts(name) else None
        return self.found[name]

    def loaded(self) -> list[str]:
        """The names of the own modules that are loaded now, sorted."""
        return sorted(name for name in sys.modules if _package(name) in self._packages and self.file(name))

    def _counts(self, name: str) -> bool:
        package = _package(name)
        if package in self._packages:
            return True
        if self._beside is None or package in sys.stdlib_module_names or package in ("bench", "__main__"):
            return False
        spec = spec_of(package)
        if spec is None:
            self._note_absent(self._beside, package)
            return False
        places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
        return any(_lies_below(place, self._beside) for place in places)

    def _search(self, name: str) -> Path | None:
        parent, _, tail = name.rpartition(".")
        folders = _folders(parent) if parent else [str(self._beside)] * (self._beside is not None)
        for folder in folders:
            self._note_absent(folder, tail)
        if name in sys.modules:
            file = _file(sys.modules[name])
        else:
            spec = spec_of(name)
            file = spec.origin if spec is not None and spec.has_location else None
        return Path(file) if file and Path(file).is_file() else None

    def _note_absent(self, folder: str | Path, name: str) -> None:
        for path in (Path(folder, f"{name}.py"), Path(folder, name, "__init__.py")):
            if not path.exists():
                self.absent.add(str(path))


def own_code(method: type[Imputer]) -> tuple[Code, OwnModules]:
    """A method's own code, and where its modules were found.

    Own modules that were loaded by other means than an import statement count too, if the import of the
    method has loaded them.
    """
    modules = OwnModules(method)
    return read_code(method.__module__, method.__qualname__, modules.file, modules.loaded()), modules


def required_packages(code: Code, method: type[Imputer]) -> list[str]:
    """The top-level packages that a method's code imports, beside the standard library, bench and its own."""
    # annotated_types comes with bench, and methods declare their settings with it.
    return sorted(
        code.imports - own_packages(method) - {"bench", "annotated_types"} - sys.stdlib_module_names
    )
