"""Suites: YAML files that hold what a grid is made of. Each key is checked; a fault names its line."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from yaml.nodes import MappingNode, Node, SequenceNode

from bench.datasets import is_named
from bench.errors import BenchError
from bench.grid.grid import Override
from bench.plugins.presets import PRESETS
from bench.plugins.registry import BASELINES
from bench.problem.posing import LARGEST_SEED
from bench.util.files import expanded
from bench.util.text import clean, unknown

LARGEST_BYTES = 1_000_000
SUFFIXES = (".yaml", ".yml")


def _known_preset(name: str) -> str:
    if name not in PRESETS:
        raise ValueError(unknown("preset", name, PRESETS))
    return name


Name = Annotated[str, Field(min_length=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Size = Annotated[int, Field(ge=1)]
Value = bool | int | float | str


class Content(BaseModel):
    """What a suite may hold. Every key may be left out, and the command line wins over the file.

    Attributes:
        description: for people.
        methods: names; `baselines` stands for all of them.
        datasets: names, or paths from the suite's own folder.
        mechanisms, rates, seeds, preset, train, test: as the options of `bench run`.
        timeout, device, precision, threads, jobs, memory: the same.
        set: settings by method.
        plugins: Python files that each define a method; paths from the suite's own folder.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    description: str = ""
    methods: Annotated[list[Name], Field(min_length=1)] | None = None
    datasets: Annotated[list[Name], Field(min_length=1)] | None = None
    mechanisms: Annotated[list[Name], Field(min_length=1)] | None = None
    rates: Annotated[list[Rate], Field(min_length=1)] | None = None
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = None
    preset: Annotated[str, AfterValidator(_known_preset)] | None = None
    train: Size | None = None
    test: Size | None = None
    set: dict[Name, dict[Name, Value]] = Field(default_factory=dict)
    plugins: list[Name] = Field(default_factory=list)
    timeout: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    device: Name | None = None
    precision: Literal["auto", "float32", "bfloat16"] | None = None
    threads: Size | None = None
    jobs: Size | None = None
    memory: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


@dataclass(frozen=True)
class Suite:
    """A suite that was read.

    Attributes:
        path: its file.
        hash: of the file's bytes.
        content: what it holds, datasets and plugins with paths that work from here.
        overrides: its settings, each with its line.
    """

    path: Path
    hash: str
    content: Content
    overrides: tuple[Override, ...]

    @property
    def name(self) -> str:
        """The file's name without its folder, since results are for others to read."""
        return clean(self.path.name)


def shipped() -> dict[str, Path]:
    """The suites that come with the package, by name."""
    with as_file(files("bench.grid") / "shipped") as folder:
        return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_suite(given: str) -> Path:
    """The file that a user means: a path, or the name of a suite that comes with the package.

    Raises:
        BenchError: there is neither.
    """
    path = expanded(given)
    if path.suffix in SUFFIXES and path.is_file():
        return path
    ours = shipped()
    name = path.stem if path.suffix in SUFFIXES and path.parent == Path() else given
    if name in ours:
        return ours[name]
    if path.is_file():
        raise BenchError(f"suite {given} is not a .yaml file; rename it")
    if "/" in given or path.suffix in SUFFIXES:
        raise BenchError(f"suite {given} does not exist; shipped ones: {', '.join(ours)}")
    raise BenchError(f"{unknown('suite', given, ours)}; or give the path of a .yaml file")


def read_suite(given: str) -> Suite:
    """Read and check a suite.

    Args:
        given: as `find_suite` takes it.

    Raises:
        BenchError: it cannot be found or read, or something in it is wrong; the message names the line.
    """
    path = find_suite(given)
    try:
        size = path.stat().st_size
        text = path.read_bytes() if size <= LARGEST_BYTES else b""
    except OSError as error:
        raise BenchError(f"suite {path} cannot be read ({error.strerror})") from error
    if size > LARGEST_BYTES:
        raise BenchError(f"suite {path} has {size:,} bytes; no suite needs more than {LARGEST_BYTES:,}")
    document, lines = _parse(text, path)
    try:
        content = Content.model_validate(document)
    except ValidationError as error:
        raise BenchError(_fault(error, lines, path)) from None
    _refuse_idle_settings(content, lines, path)
    content = content.model_copy(
        update={
            "datasets": content.datasets and [_from(path, name) for name in content.datasets],
            "plugins": [str(path.parent / expanded(name)) for name in content.plugins],
        }
    )
    overrides = tuple(
        Override(
            f"{method}.{name}",
            _spelled(value),
            f"{path} line {_line_of(('set', method, name), lines)}",
            "suite",
        )
        for method, given_settings in content.set.items()
        for name, value in given_settings.items()
    )
    return Suite(path, f"sha256:{hashlib.sha256(text).hexdigest()}", content, overrides)


def _refuse_idle_settings(content: Content, lines: Lines, path: Path) -> None:
    """Refuse settings of a method that the suite does not run: its name may be misspelt."""
    if content.methods is None or BASELINES in content.methods:
        return
    for method in content.set:
        if method not in content.methods:
            line = _line_of(("set", method), lines)
            raise BenchError(clean(f"suite {path} line {line}: {unknown('method', method, content.methods)}"))


def _from(suite: Path, dataset: str) -> str:
    """A data set's name unchanged, or its path from here; the name of a file beside the suite is a path."""
    path = suite.parent / expanded(dataset)
    if "/" in dataset or dataset.endswith(".npz"):
        return str(path)
    return str(path) if not is_named(dataset) and path.exists() else dataset


def _spelled(value: Value) -> str:
    """A value as the command line spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


Lines = dict[tuple[str, ...], int]


def _parse(text: bytes, path: Path) -> tuple[Any, Lines]:
    """The document, and the line of each of its places.

    Raises:
        BenchError: it is not YAML, it is not a mapping, or as for `_note_lines`.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: Lines = {}
        if isinstance(root, MappingNode):
            _note_lines(root, lines, path)
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        where = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BenchError(clean(f"suite {path}{where}: {error.problem or 'is not YAML'}")) from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise BenchError(clean(f"suite {path} is not YAML: {error}")[:300]) from None
    if not isinstance(root, MappingNode) or not isinstance(document, dict):
        raise BenchError(f"suite {path} is not a mapping; write lines such as methods: [prflow, mcflow]")
    return document, lines


def _note_lines(root: MappingNode, lines: Lines, path: Path) -> None:
    """Note on which line each part of the document begins.

    Raises:
        BenchError: a mapping holds a key twice; or a part is used twice by an alias, which could make a small
            file a huge one.
    """
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], Node, int]] = [((), root, root.start_mark.line)]
    while waiting:
        place, node, line = waiting.pop()
        if id(node) in seen:
            raise BenchError(
                f"suite {path} line {line + 1}: YAML aliases are not supported; write the values out"
            )
        if place in lines:
            first, second = sorted((lines[place], line + 1))
            raise BenchError(
                clean(f"suite {path} line {second}: {place[-1]!r} was given on line {first} already")
            )
        seen.add(id(node))
        lines[place] = line + 1
        if isinstance(node, SequenceNode):
            waiting += [((*place, str(n)), item, item.start_mark.line) for n, item in enumerate(node.value)]
        if isinstance(node, MappingNode):
            # A value may begin on a later line than its key; people look for the key.
            waiting += [((*place, str(key.value)), value, key.start_mark.line) for key, value in node.value]


def _line_of(place: tuple[str, ...], lines: Lines) -> int:
    """The line on which a place begins; if none was noted, that of the nearest part around it."""
    return next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), 1)


def _fault(error: ValidationError, lines: Lines, path: Path) -> str:
    """The first fault, on one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = tuple(str(part) for part in first["loc"])
    line = _line_of(place, lines)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = unknown("key", place[-1], Content.model_fields)
    elif place[:1] == ("set",) and len(place) > 2:
        message = f"{'.'.join(place[:3])}: give a number, a word, true or false"
    elif first["type"] != "value_error":
        message = f"{place[0]}: {message}"
    return clean(f"suite {path} line {line}: {message}")[:500]
