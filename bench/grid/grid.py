"""Grids: methods x data sets x rates x seeds, and the cells that they stand for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.datasets import called, check_name, misspelt
from bench.errors import BenchError
from bench.grid.cell import Cell
from bench.plugins.presets import sizes_of
from bench.plugins.registry import BASELINES, Description, Source, describe, describe_all, find_methods
from bench.problem.missingness import Pixel, mechanism_of
from bench.problem.posing import Problem
from bench.util.text import unknown


@dataclass(frozen=True)
class Override:
    """One setting that a user gave.

    Attributes:
        target: "METHOD.NAME".
        text: its value as the command line spells it.
        where: the place at which it was given, as messages name it.
        origin: "command line" or "suite".
    """

    target: str
    text: str
    where: str
    origin: str

    @classmethod
    def from_command_line(cls, given: str) -> Override:
        """From METHOD.NAME=VALUE. Raises BenchError if the text is anything else."""
        target, equals, text = given.partition("=")
        if not equals or "." not in target:
            raise BenchError(f"--set {given!r} is not METHOD.NAME=VALUE, as in prflow.alpha=0.5")
        return cls(target, text, "--set", "command line")


@dataclass(frozen=True)
class Grid:
    """What a user asks for.

    Attributes:
        methods: names; `baselines` stands for all of them.
        datasets: names or paths.
        mechanisms: how pixels go missing, as `bench.problem.missingness.mechanism_of` reads it.
        rates, seeds: every combination of all of these is run.
        preset: smoke, quick, standard or paper.
        overrides: settings; of two for one setting, the later wins.
        train, test: how many images; None takes the preset's number.
        plugins: Python files that each define a method.
        asked: who asked for what, as `Cell.asked`.
    """

    methods: Sequence[str]
    datasets: Sequence[str]
    rates: Sequence[float]
    seeds: Sequence[int]
    preset: str
    overrides: Sequence[Override] = ()
    train: int | None = None
    test: int | None = None
    plugins: Sequence[Path] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)
    mechanisms: Sequence[str] = (Pixel.name,)

    def cells(self) -> list[Cell]:
        """Every combination once, ordered by problem, so that a problem's methods follow each other.

        Raises:
            BenchError: a name, a rate, a size or a setting is wrong, or two cells would share a folder.
        """
        known = find_methods(self.plugins)
        problems = self._problems()
        names = expand(self.methods, known)
        descriptions = {name: describe(known[name]) for name in names}
        _refuse_misspelt_data_sets(descriptions.values(), {called(given) for given in self.datasets})
        chosen = settle(self.overrides, descriptions, known)
        cells = [
            Cell(
                problem,
                known[name],
                descriptions[name],
                self.preset,
                {setting: value for setting, (value, _) in chosen[name].items()},
                self._asked_of(chosen[name]),
            )
            for problem in problems
            for name in names
        ]
        _refuse_shared_folders(cells)
        return cells

    def _problems(self) -> list[Problem]:
        for what, option, given in (
            ("methods", "--methods", self.methods),
            ("data set", "--dataset", self.datasets),
        ):
            if not given:
                raise BenchError(f"no {what} given; name them with {option}, or in a suite")
        for what, numbers in (("rates", self.rates), ("seeds", self.seeds)):
            if not numbers:
                raise BenchError(f"no {what} given; give --{what} numbers with commas between")
        for name in self.datasets:
            check_name(name)
        train, test = sizes_of(self.preset)
        by_hand = tuple(
            split for split, size in (("train", self.train), ("test", self.test)) if size is not None
        )
        return [
            Problem(
                dataset,
                mechanism,
                rate,
                seed=seed,
                train=train if self.train is None else self.train,
                test=test if self.test is None else self.test,
                strict=by_hand,
            )
            for dataset in dict.fromkeys(self.datasets)
            for mechanism in dict.fromkeys(mechanism_of(text).text for text in self.mechanisms)
            for rate in dict.fromkeys(self.rates)
            for seed in dict.fromkeys(self.seeds)
        ]

    def _asked_of(self, chosen: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
        """Who asked for a method's cell: what holds for all cells, and where its own settings came from."""
        origins = dict(self.asked.get("from", {}))
        origins |= {f"set.{name}": origin for name, (_, origin) in chosen.items()}
        return {**self.asked, "from": origins}


def _refuse_misspelt_data_sets(descriptions: Iterable[Description], asked: Collection[str]) -> None:
    """Raises BenchError if a method has settings for a data set whose name is misspelt: none would apply."""
    for description in descriptions:
        by_preset = (key.partition("/")[2] for key in description.presets)
        for name in (*description.for_dataset, *by_preset):
            meant = misspelt(name) if name and name not in asked else None
            if meant is not None:
                raise BenchError(
                    f"the method {description.name!r} has settings for an unknown data set {name!r}; "
                    f"did you mean {meant!r}?"
                )


def _refuse_shared_folders(cells: Iterable[Cell]) -> None:
    """Raises BenchError if two cells have one folder: the later result would replace the earlier."""
    owners: dict[Path, Cell] = {}
    for cell in cells:
        other = owners.setdefault(cell.path, cell)
        if other is not cell:
            pairs = (
                ("data sets", other.problem.dataset, cell.problem.dataset),
                ("rates", other.problem.rate, cell.problem.rate),
                ("methods", other.source.name, cell.source.name),
            )
            what, first, second = next(pair for pair in pairs if pair[1] != pair[2])
            raise BenchError(
                f"{what} {first!r} and {second!r} would share the folder {cell.path}; leave out or rename one"
            )


def expand(methods: Iterable[str], known: Mapping[str, Source]) -> list[str]:
    """The methods asked for, each once; `baselines` stands for every method that says it is one.

    A method that cannot be loaded cannot say so, and is left out of the baselines.

    Raises:
        BenchError: a name is unknown.
    """
    names: list[str] = []
    for name in methods:
        if name == BASELINES:
            said = describe_all(known.values())
            # The order of the answers depends on which were in the cache; that of `known` does not.
            names += [each for each in known if getattr(said[each], "baseline", False)]
        elif name in known:
            names.append(name)
        else:
            raise BenchError(unknown("method", name, [*known, BASELINES]))
    return [*dict.fromkeys(names)]


def settle(
    overrides: Iterable[Override], descriptions: Mapping[str, Description], known: Iterable[str]
) -> dict[str, dict[str, tuple[Any, str]]]:
    """Each method's overridden settings: value and origin by name.

    Settings in a suite of a method that the command line leaves out are ignored.

    Raises:
        BenchError: a method is unknown or not asked for, a setting is unknown, or a value is of another type.
    """
    chosen: dict[str, dict[str, tuple[Any, str]]] = {name: {} for name in descriptions}
    names = set(known)
    for override in overrides:
        method, _, name = override.target.partition(".")
        if method not in descriptions:
            if override.origin == "suite" and method in names:
                continue
            if method in names:
                raise BenchError(
                    f"{override.where}: {method} is not among the methods asked for; add it to --methods, or "
                    "leave its settings out"
                )
            raise BenchError(f"{override.where}: {unknown('method', method, names)}")
        try:
            value = descriptions[method].parse(name, override.text)
        except BenchError as error:
            raise BenchError(f"{override.where}: {error}") from None
        chosen[method][name] = (value, override.origin)
    return chosen
