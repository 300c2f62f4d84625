"""What a process that has imported a method may tell of it, and the method's code as we read it ourselves.

A method's import can change what its process says. So the process tells only where own modules lie; their
files are read, and the identity is computed, by a process that has not imported the method.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench.plugins.own_modules import PLUGIN, spec_of
from bench.plugins.source_code import Code, read_code

LONGEST_NAME = 60


class _Told(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Said(_Told):
    """What a method says of itself: `bench.plugins.registry.Description` without its name and its source."""

    display_name: str = Field(max_length=LONGEST_NAME)
    summary: str
    details: str
    citation: str
    baseline: bool
    settings: dict[str, dict[str, Any]]
    presets: dict[str, dict[str, Any]]
    for_dataset: dict[str, dict[str, Any]]
    requires: list[str]
    bfloat16: bool


class Told(_Told):
    """A method's description, and where its own modules lie.

    Attributes:
        module, qualname: of the method's class.
        found: the file of each module that was looked for, by its dotted name; None if it is not an own one.
        loaded: the own modules that the import has loaded.
        absent: as `bench.plugins.own_modules.OwnModules`.
    """

    description: Said
    module: str
    qualname: str
    found: dict[str, str | None]
    loaded: list[str]
    absent: list[str]


def code_of(reference: str, told: Told) -> Code:
    """Read a method's code. The file that the reference names is always part of it.

    Where a module of a plugin lies is also looked up beside the plugin, so none that lies there can be kept
    out by not telling of it.

    Args:
        reference: as `bench.plugins.registry.Source`.
        told: what the process tells that has imported the method.

    Raises:
        OSError: a file cannot be read.
        ValueError: the method's module is not where the reference says.
    """
    is_file = reference.endswith(".py")
    module = PLUGIN if is_file else told.module
    start = Path(reference) if is_file else _installed(module)

    def find(name: str) -> Path | None:
        if name == module and start is not None:
            return start
        file = told.found.get(name)
        if file is not None:
            return Path(file) if Path(file).is_file() else None
        return _beside(name, Path(reference).parent) if is_file else None

    code = read_code(module, told.qualname, find, told.loaded)
    named = None if is_file else _installed(reference.partition(":")[0])
    # A class that another package defines is that package's code.
    same_package = module.partition(".")[0] == reference.partition(":")[0].partition(".")[0]
    away = named is not None and same_package and named.resolve() not in map(_resolved, code.files)
    if away or not code.files:
        raise ValueError(f"the code of {reference} is not where its process says")
    return code


def _resolved(file: str) -> Path:
    return Path(file).resolve()


def _installed(module: str) -> Path | None:
    """The file of an installed module; None if it cannot be told without importing the packages above it."""
    spec = spec_of(module)
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _beside(name: str, folder: Path) -> Path | None:
    """The file of a top-level module beside a plugin; None if Python takes another module of that name."""
    if "." in name or name in sys.stdlib_module_names or name == "bench" or spec_of(name) is not None:
        return None
    places = (folder / name / "__init__.py", folder / f"{name}.py")
    return next((place for place in places if place.is_file()), None)
