"""Grids: methods x data sets x rates x seeds as the cells that they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.names import unknown
from bench.plan import Cell, sizes_of
from bench.plugins import Description, Source, describe, describe_all, find_methods
from bench.problem import Problem

BASELINES = "baselines"


def plan_cells(
    methods: Iterable[str],
    datasets: Iterable[str],
    rates: Iterable[float],
    seeds: Iterable[int],
    preset: str,
    overrides: Iterable[str],
    sizes: tuple[int | None, int | None],
    plugins: Iterable[Path],
) -> list[Cell]:
    """Every combination, in the order problems first, so that one problem's methods follow each other.

    Raises:
        BenchError: a name, a rate, a size or a setting is wrong.
    """
    known = find_methods(plugins)
    names = expand(methods, known)
    train, test = (given or preset_size for given, preset_size in zip(sizes, sizes_of(preset), strict=True))
    problems = [
        Problem(dataset, rate=rate, seed=seed, train=train, test=test, strict=sizes != (None, None))
        for dataset in datasets
        for rate in rates
        for seed in seeds
    ]
    descriptions = {name: describe(known[name]) for name in names}
    chosen = parse_overrides(overrides, descriptions)
    return [
        Cell(problem, known[name], descriptions[name], preset, chosen[name])
        for problem in problems
        for name in names
    ]


def expand(methods: Iterable[str], known: Mapping[str, Source]) -> list[str]:
    """The methods asked for, each once; `baselines` stands for every method that says it is one.

    One that cannot be loaded says nothing.

    Raises:
        BenchError: a name is unknown.
    """
    names: list[str] = []
    for name in methods:
        if name == BASELINES:
            said = describe_all(known.values())
            # In the order of `known`: that of the answers depends on which were remembered.
            names += [each for each in known if getattr(said[each], "baseline", False)]
        elif name in known:
            names.append(name)
        else:
            raise BenchError(unknown("method", name, [*known, BASELINES]))
    return [*dict.fromkeys(names)]


def parse_overrides(
    overrides: Iterable[str], descriptions: dict[str, Description]
) -> dict[str, dict[str, Any]]:
    """METHOD.NAME=VALUE by method. Raises BenchError where one is malformed or names nothing known."""
    chosen: dict[str, dict[str, Any]] = {name: {} for name in descriptions}
    for override in overrides:
        target, equals, text = override.partition("=")
        method, dot, name = target.partition(".")
        if not (equals and dot):
            raise BenchError(f"--set {override!r} is not METHOD.NAME=VALUE, as in prflow.alpha=0.5")
        if method not in descriptions:
            raise BenchError(unknown("method in --set", method, descriptions))
        chosen[method][name] = descriptions[method].parse(name, text)
    return chosen
