"""How a metric changes with the rate: the numbers behind the curves, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.report.groups import Group
from bench.report.layout import Line, all_lines
from bench.report.means import Mean
from bench.report.metrics import Score
from bench.report.published import MECHANISM, prflow_paper

INTERVALS = (
    "Bars are 95 % intervals: with one seed by bootstrap over test images, with several seeds by Student's t "
    "over the seeds. FID has no interval with one seed."
)


FAR_APART = 20


def far_apart(values: Sequence[float]) -> bool:
    """Whether values need a logarithmic axis: all positive, the largest many times the smallest."""
    return min(values) > 0 and max(values) > FAR_APART * min(values)


@dataclass(frozen=True)
class Point:
    """The mean over seeds at one rate; `low` and `high` of its 95 % interval, None if there is none."""

    rate: float
    value: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Curve:
    """One method on one data set.

    Attributes:
        runs: the points in ascending rates, cut into runs where a rate of the group has no number of this
            method.
        published: (rate, value) of the paper, at the rates of our results.
    """

    line: Line
    label: str
    runs: tuple[tuple[Point, ...], ...]
    published: tuple[tuple[float, float], ...]

    @property
    def points(self) -> tuple[Point, ...]:
        return tuple(point for run in self.runs for point in run)


def curves(group: Group, dataset: str, score: Score) -> list[Curve]:
    """The curves of one data set and metric, in the tables' order; methods without a number are left out."""
    found = []
    rates = sorted({result.cell.rate for result in group.of_dataset(dataset)})
    comparable = group.mechanism == MECHANISM and not score.ratio
    for line in (line for line in all_lines(group) if line.dataset == dataset):
        runs = _runs(_point(rate, group.means.get((score.name, *line.key, rate))) for rate in rates)
        published = tuple(
            (rate, value)
            for rate in rates
            if comparable and not line.settings
            if (value := prflow_paper().value(score.name, dataset, line.method, rate)) is not None
        )
        if runs:
            found.append(Curve(line, line.label(group), runs, published))
    return found


def _runs(points: Iterable[Point | None]) -> tuple[tuple[Point, ...], ...]:
    """The points in runs: each None ends one."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return tuple(tuple(run) for run in runs if run)


def _point(rate: float, mean: Mean | None) -> Point | None:
    if mean is None:
        return None
    low, high = mean.interval or (None, None)
    return Point(rate, mean.value, low, high, len(mean.values))
