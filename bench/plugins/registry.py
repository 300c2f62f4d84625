"""Finding methods: entry points in the group `bench.methods`, ours as anyone's, and `--plugin FILE`.

Nothing here imports a method: its code runs only in processes of its own, which never hold the truth.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from os.path import exists
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.plugins.source_code import digest_of
from bench.settings import Setting as Setting
from bench.settings import faults
from bench.util.cache import cache_dir
from bench.util.files import write_json
from bench.util.processes import Child
from bench.util.text import unknown
from bench.util.warm import server_with

GROUP = "bench.methods"
BASELINES = "baselines"
"""This name stands for all methods that say they are a baseline."""


@dataclass(frozen=True)
class Source:
    """Where a method comes from.

    Attributes:
        name: what users call it.
        reference: "package.module:Class" or the path of a plugin file.
        origin: the same for people, with the distribution that it was installed with.
    """

    name: str
    reference: str
    origin: str


@dataclass(frozen=True)
class Description:
    """What a method says of itself.

    Attributes:
        name, display_name, summary, details, citation: for people; summary and details are its docstring.
        baseline: whether it is one of the methods that `--methods baselines` runs.
        settings: its fields, by name.
        presets, for_dataset: settings by preset, by "preset/dataset" and by data set.
        requires: the packages that its code imports, beside the standard library, bench and its own.
        source: the identity of its code (`bench.plugins.source_code`).
        bfloat16: whether the precision "auto" may be bfloat16.
    """

    name: str
    display_name: str
    summary: str
    details: str
    citation: str
    baseline: bool
    settings: dict[str, Setting]
    presets: dict[str, dict[str, Any]]
    for_dataset: dict[str, dict[str, Any]]
    requires: tuple[str, ...]
    source: str
    bfloat16: bool = True

    @property
    def absent(self) -> list[str]:
        """Which of the packages it requires are not installed here."""
        return [package for package in self.requires if find_spec(package) is None]

    def resolve(self, preset: str, dataset: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Every setting's value for a run; the later of these wins: default, data set, preset,
        preset on this data set, override.

        Raises:
            BenchError: a value is out of its setting's range.
        """
        layers = (
            self.for_dataset.get(dataset, {}),
            self.presets.get(preset, {}),
            self.presets.get(f"{preset}/{dataset}", {}),
            overrides,
        )
        values = {name: setting.default for name, setting in self.settings.items()}
        for layer in layers:
            values |= layer
        if found := faults(values, self.settings):
            raise BenchError(f"{self.name}.{found[0]}")
        return values

    def parse(self, name: str, text: str) -> Any:
        """The value of a setting from the command line.

        Raises:
            BenchError: there is no such setting, or the text is not a value of its type, or out of its range.
        """
        if name not in self.settings:
            raise BenchError(unknown(f"setting of {self.name}", name, self.settings))
        try:
            return self.settings[name].parse(text)
        except ValueError as error:
            raise BenchError(f"{self.name}.{name} {error}") from None


def find_methods(plugin_files: Iterable[Path] = ()) -> dict[str, Source]:
    """All methods by name.

    Args:
        plugin_files: Python files that each define one method, named after the file.

    Raises:
        BenchError: a plugin file is missing, or a name is used twice.
    """
    found: dict[str, Source] = {}
    for point in entry_points(group=GROUP):
        _add(found, Source(point.name, point.value, _origin(point)))
    for file in plugin_files:
        if not file.exists():
            raise BenchError(f"plugin {file} does not exist; give the path of a Python file")
        if not file.is_file() or file.suffix != ".py":
            raise BenchError(f"plugin {file} is not a Python file; give the path of one")
        if file.stem == BASELINES or "." in file.stem:
            raise BenchError(f"plugin {file}: a method cannot be called {file.stem!r}; rename the file")
        _add(found, Source(file.stem, str(file.resolve()), str(file)))
    return found


def _origin(point: EntryPoint) -> str:
    distribution = f" ({point.dist.name} {point.dist.version})" if point.dist else ""
    return f"{point.value}{distribution}"


def _add(found: dict[str, Source], source: Source) -> None:
    other = found.setdefault(source.name, source)
    if other.reference != source.reference:
        raise BenchError(
            f"the method name {source.name!r} is used twice, by {other.origin} and by {source.origin}; "
            "rename one of them"
        )


def describe(source: Source) -> Description:
    """Ask one method about itself, as `describe_all` does.

    Raises:
        BenchError: the method cannot be imported, or is not an Imputer.
    """
    answer = describe_all([source])[source.name]
    if isinstance(answer, BenchError):
        raise answer
    return answer


def describe_all(sources: Iterable[Source]) -> dict[str, Description | BenchError]:
    """Ask methods about themselves, by name; one that cannot be loaded gives the error instead.

    All that were not asked before are imported in one process, each in a fork of its own, so that none
    can disturb another or the caller. An answer is kept while the method's code stays as it is.
    """
    answers: dict[str, dict[str, Any]] = {}
    unasked: list[Source] = []
    wanted = list(sources)
    for source in wanted:
        remembered = _remembered(source)
        if remembered is None:
            unasked.append(source)
        else:
            answers[source.name] = remembered
    if unasked:
        answers |= _ask(unasked)
    return {source.name: _description(source.name, answers[source.name]) for source in wanted}


def _ask(sources: list[Source]) -> dict[str, dict[str, Any]]:
    printed = bytearray()
    child = Child(
        "bench.plugins.describe", {}, output=printed.extend, server=server_with(("torch",), os.environ)
    )
    child.send([[source.name, source.reference] for source in sources])
    answers: dict[str, dict[str, Any]] = {}
    for line in child.messages(lambda: None):
        told = json.loads(line)
        answers[told["name"]] = json.loads(told["answer"])
    if len(answers) < len(sources):
        last = printed.decode(errors="replace").splitlines()[-1:]
        raise BenchError(f"methods cannot be described: {' '.join(last) or child.how_it_ended}")
    for source in sources:
        if "error" in answers[source.name]:
            answers[source.name]["error"] += f" ({source.origin})"
        else:
            write_json(_place(source), answers[source.name])
    return answers


def _description(name: str, answer: dict[str, Any]) -> Description | BenchError:
    if "error" in answer:
        return BenchError(f"the method {name!r} cannot be loaded: {answer['error']}")
    given = answer["description"]
    try:
        settings = {setting: Setting(**facts) for setting, facts in given["settings"].items()}
    except TypeError as error:
        return BenchError(f"the method {name!r} cannot be loaded: its settings are malformed: {error}")
    return Description(**given | {"settings": settings, "requires": tuple(given["requires"])})


def _place(source: Source) -> Path:
    # Two checkouts or environments may share a cache and have different code under one module's name.
    package = find_spec(source.reference.partition(":")[0].partition(".")[0])
    where = str(package and (package.submodule_search_locations or package.origin))
    # Another version of bench may describe the same code differently.
    described_by = digest_of(map(str, Path(__file__).parent.glob("*.py")))
    parts = [source.name, source.reference, where, described_by]
    asked = json.dumps(parts)
    return cache_dir() / "methods" / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"


def _remembered(source: Source) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = json.loads(_place(source).read_text())
        fresh = digest_of(answer["files"]) == answer["digest"] and not any(map(exists, answer["absent"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return answer if fresh else None
