"""`python -m bench.describe NAME REFERENCE`: import one method and print what it says of itself, as JSON."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import sys
from typing import Any

from bench.imputer import Imputer
from bench.plugins import source_hash

SETTING_TYPES = ("int", "float", "bool", "str")


def load_method(reference: str) -> type[Imputer]:
    """Import a method's class.

    Args:
        reference: "package.module:Class", or the path of a file that defines one Imputer.

    Raises:
        TypeError: there is no one Imputer dataclass there.
    """
    if reference.endswith(".py"):
        spec = importlib.util.spec_from_file_location("bench_plugin", reference)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["bench_plugin"] = module
        spec.loader.exec_module(module)
        own = [
            value
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, Imputer) and value.__module__ == "bench_plugin"
        ]
        if len(own) != 1:
            raise TypeError(f"a plugin file defines exactly one Imputer; this one defines {len(own)}")
        found = own[0]
    else:
        module_name, _, class_name = reference.partition(":")
        found = getattr(importlib.import_module(module_name), class_name)
    if not (inspect.isclass(found) and issubclass(found, Imputer) and dataclasses.is_dataclass(found)):
        raise TypeError(f"{reference} is not a dataclass that derives from bench.imputer.Imputer")
    return found


def own_files(method: type[Imputer]) -> list[str]:
    """The files whose change can change the method: its module and what it imported of its package."""
    package = method.__module__.partition(".")[0]
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == package]
    return sorted({file for module in modules if (file := getattr(module, "__file__", None))})


def description_of(name: str, method: type[Imputer]) -> dict[str, Any]:
    """What `bench.plugins.Description` holds, as JSON."""
    settings = {}
    for field in dataclasses.fields(method):  # type: ignore[arg-type]  # load_method saw to it
        kind = str(field.type if isinstance(field.type, str) else getattr(field.type, "__name__", ""))
        if kind not in SETTING_TYPES or field.default is dataclasses.MISSING:
            raise TypeError(f"setting {field.name!r} must be int, float, bool or str and have a default")
        settings[field.name] = {"type": kind, "default": field.default}
    for layer in (*method.presets.values(), *method.for_dataset.values()):
        if strangers := layer.keys() - settings.keys():
            raise TypeError(f"a preset sets {sorted(strangers)[0]!r}, which is not a field")
    return {
        "name": name,
        "display_name": method.display_name or name,
        "summary": (inspect.getdoc(method) or "").partition("\n")[0],
        "citation": method.citation,
        "baseline": method.baseline,
        "settings": settings,
        "presets": {key: dict(value) for key, value in method.presets.items()},
        "for_dataset": {key: dict(value) for key, value in method.for_dataset.items()},
        "source": source_hash(own_files(method)),
    }


def main() -> None:
    name, reference = sys.argv[1:]
    method = load_method(reference)
    print(json.dumps({"description": description_of(name, method), "files": own_files(method)}))


if __name__ == "__main__":
    main()
