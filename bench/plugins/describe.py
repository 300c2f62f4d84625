"""`python -m bench.plugins.describe`: import methods, each in a fork, and print
what they say of themselves as JSON.

Reads [[NAME, REFERENCE], ...] from standard input.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import json
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from bench.imputer import Imputer
from bench.plugins.presets import PRESETS
from bench.plugins.registry import source_hash
from bench.util.process_tree import end_descendants, inherit_orphans
from bench.util.processes import Child, Parent
from bench.util.text import unknown

SETTING_TYPES = ("int", "float", "bool", "str")
IMPORT_SECONDS = 120
LONGEST_NAME = 60
OURS = "bench.methods"
"""The package of the methods that come with bench."""

PLUGIN = "bench_plugin"
"""What the module of a plugin file is called."""


def load_method(reference: str) -> type[Imputer]:
    """Import a method's class.

    Args:
        reference: "package.module:Class", or the path of a file that defines one Imputer. Nothing is left
            beside that file, bytecode neither.

    Raises:
        TypeError: there is no one Imputer dataclass there.
    """
    if reference.endswith(".py"):
        spec = importlib.util.spec_from_file_location(PLUGIN, reference)
        assert spec is not None and spec.loader is not None
        # Last, so that what lies beside a plugin takes the place of no package.
        sys.path.append(str(Path(reference).parent))
        module = importlib.util.module_from_spec(spec)
        sys.modules[PLUGIN] = module
        # For good: what lies beside a plugin may be imported as late as in `fit`.
        sys.dont_write_bytecode = True
        spec.loader.exec_module(module)
        own = [
            value
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, Imputer) and value.__module__ == PLUGIN
        ]
        if len(own) != 1:
            raise TypeError(f"a plugin file defines exactly one Imputer; this one defines {len(own)}")
        found = own[0]
    else:
        module_name, _, class_name = reference.partition(":")
        found = getattr(importlib.import_module(module_name), class_name)
    if not (inspect.isclass(found) and issubclass(found, Imputer) and dataclasses.is_dataclass(found)):
        raise TypeError(f"{reference} is not a dataclass that derives from bench.imputer.Imputer")
    if inspect.isabstract(found):
        raise TypeError(f"{found.__name__} does not define {' and '.join(sorted(found.__abstractmethods__))}")
    return found


def own_packages(method: type[Imputer]) -> set[str]:
    """The top-level packages of the method, of those it derives from, and those beside a plugin file."""
    lineage = [ancestor for ancestor in method.__mro__ if issubclass(ancestor, Imputer)]
    packages = {_package(ancestor.__module__) for ancestor in lineage}
    if PLUGIN in packages:
        beside = Path(str(sys.modules[PLUGIN].__file__)).resolve().parent
        packages |= {_package(name) for name, module in sys.modules.items() if _lies_below(module, beside)}
    return packages - {"bench", "__main__"} - sys.stdlib_module_names


def _package(module: str) -> str:
    """The package that a module counts to: our methods are as far from the harness as anyone's."""
    return OURS if f"{module}.".startswith(f"{OURS}.") else module.partition(".")[0]


def _lies_below(module: ModuleType, folder: Path) -> bool:
    """Whether a module is a file in a folder, and not one of a package installed there."""
    file = Path(getattr(module, "__file__", None) or "/")
    return file.is_relative_to(folder) and not {"site-packages", "dist-packages"} & {*file.parts}


def own_files(method: type[Imputer]) -> list[str]:
    """The files whose change can change the method: its module and what it imported of `own_packages`."""
    packages = own_packages(method)
    modules = [module for name, module in sys.modules.items() if _package(name) in packages]
    return sorted({file for module in modules if (file := getattr(module, "__file__", None))})


def required_packages(files: Iterable[str], own: set[str]) -> list[str]:
    """The top-level packages that some Python files import, beside the standard library, bench and `own`."""
    found: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(Path(file).read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return sorted(found - own - {"bench"} - sys.stdlib_module_names)


def description_of(name: str, method: type[Imputer]) -> dict[str, Any]:
    """What `bench.plugins.registry.Description` holds, as JSON."""
    for attribute, kind_of in (("display_name", str), ("citation", str), ("baseline", bool)):
        if not isinstance(getattr(method, attribute), kind_of):
            raise TypeError(f"{attribute} must be {kind_of.__name__}")
    if len(method.display_name) > LONGEST_NAME:
        raise TypeError(f"display_name must not be longer than {LONGEST_NAME} characters")
    settings = {}
    for field in dataclasses.fields(method):  # type: ignore[arg-type]  # load_method saw to it
        kind = str(field.type if isinstance(field.type, str) else getattr(field.type, "__name__", ""))
        if kind not in SETTING_TYPES or field.default is dataclasses.MISSING:
            raise TypeError(f"setting {field.name!r} must be int, float, bool or str and have a default")
        settings[field.name] = {"type": kind, "default": field.default}
    for layer in (*method.presets.values(), *method.for_dataset.values()):
        if strangers := layer.keys() - settings.keys():
            raise TypeError(f"a preset sets {sorted(strangers)[0]!r}, which is not a field")
    for key in method.presets:
        preset = key.partition("/")[0]
        if preset not in PRESETS:
            raise TypeError(unknown("preset", preset, PRESETS))
    files = own_files(method)
    summary, _, details = (inspect.getdoc(method) or "").partition("\n")
    return {
        "name": name,
        "display_name": method.display_name or name,
        "summary": summary,
        "details": details.strip(),
        "citation": method.citation,
        "baseline": method.baseline,
        "settings": settings,
        "presets": {key: dict(value) for key, value in method.presets.items()},
        "for_dataset": {key: dict(value) for key, value in method.for_dataset.items()},
        "requires": required_packages([file for file in files if file.endswith(".py")], own_packages(method)),
        "source": source_hash(files),
    }


def answer_for(name: str, reference: str) -> str:
    """A method's description and files as JSON, or its error on one line."""
    try:
        method = load_method(reference)
        answer = {"description": description_of(name, method), "files": own_files(method)}
        return json.dumps(answer, allow_nan=False)
    except BaseException as error:
        return json.dumps({"error": one_line(error)})


def one_line(error: BaseException) -> str:
    """An error's type and message, and the line of the file that raised it."""
    message = " ".join(f"{type(error).__name__}: {error}".split())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_file()]
    where = f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if frames else ""
    return message + where


class Described(BaseModel):
    """What a fork sends: what `answer_for` returns."""

    answer: str


def answer_apart(name: str, reference: str) -> dict[str, Any]:
    """As `answer_for`, in a fork: a method that ends, stalls or changes its process harms no other."""

    def answer() -> None:
        Parent().tell(Described(answer=answer_for(name, reference)))

    def tick() -> None:
        if time.monotonic() > until:
            child.end()

    until = time.monotonic() + IMPORT_SECONDS
    # What a plugin prints is no answer.
    child = Child(answer, None, {}, output=lambda data: None)
    told = None
    for line in child.messages(tick):
        with suppress(ValueError, RecursionError):
            told = json.loads(Described.model_validate_json(line).answer)
    if isinstance(told, dict):
        return told
    if time.monotonic() > until:
        return {"error": f"its import did not end within {IMPORT_SECONDS} seconds"}
    return {"error": f"its import ended the process (exit status {child.exit_status})"}


def main() -> None:
    inherit_orphans()
    answers = {}
    for name, reference in json.load(sys.stdin):
        answers[name] = answer_apart(name, reference)
        # What an import has started ends with it, also in a session of its own.
        end_descendants()
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
