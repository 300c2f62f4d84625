"""Curves as SVG for the page: the places of lines, marks, intervals and ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.report.curves import Curve, Point, curves, far_apart
from bench.report.groups import Group
from bench.report.layout import number
from bench.report.looks import Kind, Look
from bench.report.metrics import Score

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 40
MARKS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-4.6L4.4,3.4H-4.4z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,4.6L4.4,-3.4H-4.4z",
    "M-1.6,-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",
)
"""Outlines around the origin."""


@dataclass(frozen=True)
class Mark:
    """One number on a chart, in units of the SVG. `text` shows when a reader points at it."""

    x: float
    y: float
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """One method on a chart; its `position` is the same on every chart of a group."""

    label: str
    position: int
    look: Look
    path: str
    marks: tuple[Mark, ...]
    published: tuple[Mark, ...]

    @property
    def outline(self) -> str:
        return MARKS[self.look.mark]


@dataclass(frozen=True)
class Chart:
    """One metric against the rate on one data set. Ticks are pairs (place, label)."""

    title: str
    label: str
    series: tuple[Series, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    logarithmic: bool


def chart(group: Group, dataset: str, score: Score, looks: Mapping[Kind, Look]) -> Chart | None:
    """The chart of one data set and metric; None if there is no number.

    Args:
        looks: of every method of the group.
    """
    found = curves(group, dataset, score)
    if not found:
        return None
    rates = sorted({result.cell.rate for result in group.of_dataset(dataset)})
    across = _scale(rates[0] - 0.02, rates[-1] + 0.02, LEFT, WIDTH - RIGHT)
    values = [value for curve in found for value in _values(curve)]
    ticks, logarithmic = _ticks(values)
    reach = [*values, *ticks]
    form: Callable[[float], float] = math.log10 if logarithmic else float
    up = _scale(form(min(reach)), form(max(reach)), HEIGHT - BOTTOM, TOP)

    def place(value: float) -> float:
        return up(form(value))

    positions = {kind: position for position, kind in enumerate(looks)}
    series = tuple(
        _series(curve, positions[kind], looks[kind], across, place, score)
        for curve in found
        for kind in [(curve.line.method, curve.line.settings)]
    )
    return Chart(
        f"{group.spelled('dataset', dataset)}: {score.short} against the fraction missing",
        score.short + score.direction,
        series,
        tuple((across(rate), f"{rate:g}") for rate in rates),
        tuple((place(tick), f"{tick:g}") for tick in ticks),
        logarithmic,
    )


def _values(curve: Curve) -> Iterable[float]:
    for point in curve.points:
        yield from (value for value in (point.value, point.low, point.high) if value is not None)
    yield from (value for _, value in curve.published)


def _series(
    curve: Curve,
    position: int,
    look: Look,
    across: Callable[[float], float],
    place: Callable[[float], float],
    score: Score,
) -> Series:
    runs = [[_mark(point, curve.label, across, place, score) for point in run] for run in curve.runs]
    published = tuple(
        Mark(
            across(rate),
            place(value),
            f"{curve.label} at {rate:g}: {score.short} {number(value)} in the paper",
        )
        for rate, value in curve.published
    )
    path = "".join("M" + "L".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in run) for run in runs)
    marks = tuple(mark for run in runs for mark in run)
    return Series(curve.label, position, look, path, marks, published)


def _mark(
    point: Point,
    label: str,
    across: Callable[[float], float],
    place: Callable[[float], float],
    score: Score,
) -> Mark:
    text = f"{label} at {point.rate:g}: {score.short} {number(point.value)}"
    low = high = None
    if point.low is not None and point.high is not None:
        text += f", 95 % interval {number(point.low)} to {number(point.high)}"
        low, high = place(point.low), place(point.high)
    seeds = f", mean of {point.seeds} seeds" if point.seeds > 1 else ""
    return Mark(across(point.rate), place(point.value), text + seeds, low, high)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = high - low or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _ticks(values: Sequence[float]) -> tuple[list[float], bool]:
    """Round numbers around the values, and whether their axis is logarithmic."""
    low, high = min(values), max(values)
    if far_apart(values):
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return [10.0**power for power in range(first, last + 1)], True
    span = high - low or abs(high) or 1.0
    unit = 10.0 ** math.floor(math.log10(span / 4))
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * count, 12) for count in range(first, last + 1)], False
