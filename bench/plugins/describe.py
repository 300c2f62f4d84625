"""The process that imports methods, each in a fork, and tells what they say of themselves.

Its job is [[NAME, REFERENCE], ...].
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.imputer import Imputer
from bench.plugins.own_modules import PLUGIN, own_code, required_packages
from bench.plugins.presets import PRESETS
from bench.plugins.source_code import Code
from bench.plugins.told import LONGEST_NAME, Told, code_of
from bench.settings import faults, settings_of
from bench.util.process_tree import end_descendants, inherit_orphans
from bench.util.processes import Child, Parent
from bench.util.text import unknown

IMPORT_SECONDS = 120
HARNESS = Path(__file__).absolute().parents[1]
LIBRARY = Path(os.__file__).absolute().parent
"""Where the standard library lies."""
IMPORTABLE = str(Path(__file__).with_name("importable"))
"""The folder in which processes that a plugin starts find its module."""


def load_method(reference: str) -> type[Imputer]:
    """Import a method's class.

    Args:
        reference: "package.module:Class", or the path of a file that defines one Imputer. Nothing is left
            beside that file, not even bytecode.

    Raises:
        TypeError: there is not exactly one Imputer dataclass there.
    """
    if reference.endswith(".py"):
        spec = importlib.util.spec_from_file_location(PLUGIN, reference)
        assert spec is not None and spec.loader is not None
        # Last, so that no file beside a plugin takes the place of an installed package.
        sys.path.append(str(Path(reference).parent))
        _let_its_processes_import(reference)
        module = importlib.util.module_from_spec(spec)
        sys.modules[PLUGIN] = module
        # The folder stays on the path, because `fit` too may import what lies beside the plugin.
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


def _let_its_processes_import(file: str) -> None:
    """Let each process that a plugin starts import the plugin's module too, whether it is forked or not."""
    os.environ["BENCH_PLUGIN"] = str(Path(file).resolve())
    # What multiprocessing and joblib start takes over sys.path; any other Python reads the environment.
    sys.path.append(IMPORTABLE)
    given = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{given}{os.pathsep}{IMPORTABLE}" if given else IMPORTABLE


def description_of(name: str, method: type[Imputer], code: Code) -> dict[str, Any]:
    """What `bench.plugins.told.Said` holds, as JSON."""
    kinds = {"display_name": str, "citation": str, "baseline": bool, "bfloat16": bool}
    for attribute, kind_of in kinds.items():
        if not isinstance(getattr(method, attribute), kind_of):
            raise TypeError(f"{attribute} must be {kind_of.__name__}")
    if len(method.display_name) > LONGEST_NAME:
        raise TypeError(f"display_name must not be longer than {LONGEST_NAME} characters")
    settings = settings_of(method)
    for where, layer in (*method.presets.items(), *method.for_dataset.items()):
        if strangers := layer.keys() - settings.keys():
            raise TypeError(f"a preset sets {sorted(strangers)[0]!r}, which is not a field")
        if found := faults(layer, settings):
            raise TypeError(f"in {where!r}, {found[0]}")
    for key in method.presets:
        preset = key.partition("/")[0]
        if preset not in PRESETS:
            raise TypeError(unknown("preset", preset, PRESETS))
    summary, _, details = (inspect.getdoc(method) or "").partition("\n")
    return {
        "display_name": method.display_name or name,
        "summary": summary,
        "details": details.strip(),
        "citation": method.citation,
        "baseline": method.baseline,
        "settings": {setting: dataclasses.asdict(each) for setting, each in settings.items()},
        "presets": {key: dict(value) for key, value in method.presets.items()},
        "for_dataset": {key: dict(value) for key, value in method.for_dataset.items()},
        "requires": required_packages(code, method),
        "bfloat16": method.bfloat16,
    }


def answer_for(name: str, reference: str) -> str:
    """What `bench.plugins.told.Told` holds, as JSON; or the method's error on one line."""
    try:
        method = load_method(reference)
        code, modules = own_code(method)
        answer = {
            "description": description_of(name, method, code),
            "module": method.__module__,
            "qualname": method.__qualname__,
            "found": {module: file and str(file) for module, file in modules.found.items()},
            "loaded": modules.loaded(),
            "absent": sorted(modules.absent),
        }
        return json.dumps(answer, allow_nan=False)
    except BaseException as error:
        return json.dumps({"error": one_line(error)})


def checked(name: str, reference: str, answer: dict[str, Any]) -> dict[str, Any]:
    """A method's description, with what tells whether it still holds; or its error.

    Its name is the one that users call it by. Its code is read here, since its process could tell anything.
    """
    if isinstance(answer.get("error"), str):
        return {"error": answer["error"]}
    try:
        told = Told.model_validate(answer)
        code = code_of(reference, told)
    except ValidationError:
        return {"error": "its process sent something that is not a description"}
    except Exception as error:
        # One method's false answer must not cost the others theirs.
        return {"error": " ".join(f"its code cannot be read: {error}".split())}
    return {
        "description": told.description.model_dump() | {"name": name, "source": code.identity},
        "files": code.files,
        "digest": code.digest,
        "absent": told.absent,
    }


def one_line(error: BaseException) -> str:
    """An error's type and message, and the author's line that led to it, if there is one."""
    message = " ".join(f"{type(error).__name__}: {error}".split())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_an_author_s(frame.filename)]
    where = f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if frames else ""
    return message + where


def _is_an_author_s(file: str) -> bool:
    """Whether it is an author's file: neither the harness's nor the standard library's."""
    path = Path(file).absolute()
    if not path.is_file():
        return False
    if path.is_relative_to(HARNESS):
        return path.relative_to(HARNESS).parts[0] == "methods"
    installed = {"site-packages", "dist-packages"} & {*path.parts}
    return bool(installed) or not path.is_relative_to(LIBRARY)


class Described(BaseModel):
    """What a fork sends, and this process passes on: a method's name, and what `answer_for` returns."""

    name: str
    answer: str


def answer_apart(name: str, reference: str) -> dict[str, Any]:
    """Ask a method in a fork, so that it harms no other, and check its answer.

    Returns:
        As `checked`.
    """

    def answer() -> None:
        Parent().tell(Described(name=name, answer=answer_for(name, reference)))

    def tick() -> None:
        if time.monotonic() > until:
            child.end()

    until = time.monotonic() + IMPORT_SECONDS
    # What a plugin prints must not be taken for the answer.
    child = Child(answer, {}, output=lambda data: None)
    child.send(None)
    told = None
    for line in child.messages(tick):
        with suppress(ValueError, RecursionError):
            told = json.loads(Described.model_validate_json(line).answer)
    if isinstance(told, dict):
        return checked(name, reference, told)
    if time.monotonic() > until:
        return {"error": f"its import did not end within {IMPORT_SECONDS} seconds"}
    return {"error": f"its import ended the process (exit status {child.exit_status})"}


def main() -> None:
    parent = Parent()
    inherit_orphans()
    for name, reference in parent.job:
        parent.tell(Described(name=name, answer=json.dumps(answer_apart(name, reference))))
        # Processes that an import has started are ended too, even in a session of their own.
        end_descendants()


if __name__ == "__main__":
    main()
