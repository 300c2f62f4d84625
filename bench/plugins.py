"""Finding methods: entry points in the group `bench.methods`, ours as anyone's, and `--plugin FILE`.

Nothing here imports a method: its code runs only in processes of its own, which never hold the truth.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.cache import cache_dir
from bench.errors import BenchError
from bench.files import write_json
from bench.names import unknown


@dataclass(frozen=True)
class Source:
    """Where a method comes from.

    Attributes:
        name: what users call it.
        reference: "package.module:Class" or the path of a plugin file.
        file: the Python file that defines it.
    """

    name: str
    reference: str
    file: Path


@dataclass(frozen=True)
class Setting:
    """One setting of a method: its type's name, its default, and whether None is among its values."""

    type: str
    default: Any


@dataclass(frozen=True)
class Description:
    """What a method says of itself.

    Attributes:
        name, display_name, summary, citation: for people.
        baseline: whether it is one of the methods that `--methods baselines` runs.
        settings: its fields, by name.
        presets, for_dataset: settings by preset, by "preset/dataset" and by data set.
        source: hash of the code that defines it.
    """

    name: str
    display_name: str
    summary: str
    citation: str
    baseline: bool
    settings: dict[str, Setting]
    presets: dict[str, dict[str, Any]]
    for_dataset: dict[str, dict[str, Any]]
    source: str

    def resolve(self, preset: str, dataset: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Every setting's value for a run; the later of these wins: default, data set, preset,
        preset on this data set, override."""
        layers = (
            self.for_dataset.get(dataset, {}),
            self.presets.get(preset, {}),
            self.presets.get(f"{preset}/{dataset}", {}),
            overrides,
        )
        values = {name: setting.default for name, setting in self.settings.items()}
        for layer in layers:
            values |= layer
        return values

    def parse(self, name: str, text: str) -> Any:
        """The value of a setting from the command line.

        Raises:
            BenchError: there is no such setting, or the text is no value of its type.
        """
        if name not in self.settings:
            raise BenchError(unknown(f"setting of {self.name}", name, self.settings))
        kind = self.settings[name].type
        try:
            if kind == "bool":
                return {"true": True, "false": False}[text.lower()]
            if kind in ("int", "float"):
                return {"int": int, "float": float}[kind](text)
        except (KeyError, ValueError):
            raise BenchError(f"{self.name}.{name} takes a value of type {kind}, not {text!r}") from None
        return text


def find_methods(plugin_files: Iterable[Path] = ()) -> dict[str, Source]:
    """All methods by name.

    Args:
        plugin_files: Python files that each define one method, named after the file.

    Raises:
        BenchError: a plugin file is missing, or a name is used twice.
    """
    found: dict[str, Source] = {}
    for point in entry_points(group="bench.methods"):
        spec = find_spec(point.module)
        if spec is not None and spec.origin is not None:
            _add(found, Source(point.name, point.value, Path(spec.origin)))
    for file in plugin_files:
        if not file.is_file():
            raise BenchError(f"plugin {file} is not there; give the path of a Python file")
        _add(found, Source(file.stem, str(file.resolve()), file.resolve()))
    return found


def _add(found: dict[str, Source], source: Source) -> None:
    other = found.setdefault(source.name, source)
    if other.reference != source.reference:
        raise BenchError(
            f"the method name {source.name!r} is used twice, by {other.reference} and by "
            f"{source.reference}; rename one of them"
        )


def describe(source: Source) -> Description:
    """Ask a method about itself, in a process of its own; the answer is kept while its code stays as it is.

    Raises:
        BenchError: the method cannot be imported, or is no Imputer.
    """
    asked = json.dumps([source.reference, *(field.name for field in fields(Description))])
    place = cache_dir() / "methods" / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"
    answer = _remembered(place)
    if answer is None:
        command = [sys.executable, "-m", "bench.describe", source.name, source.reference]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise BenchError(f"the method {source.name!r} ({source.file}) cannot be loaded: {lines[-1]}")
        answer = json.loads(done.stdout.splitlines()[-1])
        write_json(place, answer)
    settings = {name: Setting(**setting) for name, setting in answer["description"].pop("settings").items()}
    return Description(**answer["description"], settings=settings)


def _remembered(place: Path) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = json.loads(place.read_text())
        fresh = source_hash(answer["files"]) == answer["description"]["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return answer if fresh else None


def source_hash(files: Iterable[str]) -> str:
    """Hash of a method's own code: its module and those of its package that it imported."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
    return f"sha256:{digest.hexdigest()}"
