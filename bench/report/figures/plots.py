"""Metric against rate, quality against cost, and training curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bench.report.curves import INTERVALS, Curve, curves, far_apart
from bench.report.figures.style import (
    COLOURS,
    TEXT_WIDTH,
    Drawn,
    drawn_as,
    legend,
    long_settings,
    no_panel,
    panels,
    short_label,
    wrapped,
)
from bench.report.groups import Group
from bench.report.layout import Line, all_lines, dataset_order
from bench.report.looks import Look, looks
from bench.report.means import LINE
from bench.report.metrics import Score
from bench.store.frame import cells
from bench.util.text import file_name

WIDEST_SPAN = 0.03
"""How far the methods' marks are moved apart at each rate at most, in rates."""


def against_rate(group: Group, scores: Sequence[Score]) -> Drawn | None:
    """A row a data set, a column a metric: means over seeds with intervals, the paper's numbers hollow.

    None if no cell is complete.
    """
    if not any(result.ok for result in group.results):
        return None
    datasets = dataset_order(group)
    figure, grid = panels(len(datasets), len(scores), TEXT_WIDTH, 0.7 + 2.0 * len(datasets))
    published = False
    lacking: list[str] = []
    for dataset, row in zip(datasets, grid, strict=True):
        for score, axes in zip(scores, row, strict=True):
            found = curves(group, dataset, score)
            if found:
                _draw_curves(axes, group, score, found)
                axes.set_title(group.spelled("dataset", dataset))
                published |= any(curve.published for curve in found)
            else:
                lacking.append(_no_panel(axes, group, dataset, score))
    if published:
        (hollow,) = grid[-1][-1].plot([], [], color="#555555", marker="o", fillstyle="none", linestyle="")
        hollow.set_label("hollow: the paper's")
    legend(figure, (axes for row in grid for axes in row))
    told = (
        " Hollow marks are the paper's numbers. There are none for FID: its scale depends on the judge, and "
        "the paper's judge is another one."
    )
    caption = (
        f"{group.title}. {INTERVALS} At each rate the marks are moved sideways so that all can be seen. A "
        "line has a gap at a rate where its method has no number."
        f"{told if published else ''}{''.join(lacking)}"
    )
    caption += long_settings(group, all_lines(group))
    return Drawn("rates", figure, caption)


def _draw_curves(axes: Axes, group: Group, score: Score, found: Sequence[Curve]) -> None:
    """One panel: the curves of one data set and metric."""
    look, rates = looks(group), group.rates
    span = min([WIDEST_SPAN, *(0.3 * (after - before) for before, after in pairwise(rates))])
    for position, curve in enumerate(found):
        offset = span * (position / (len(found) - 1) - 0.5) if len(found) > 1 else 0.0
        label = short_label(curve.line, group)
        _curve(axes, curve, label, look[curve.line.method, curve.line.settings], offset)
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.set_xlim(rates[0] - 2 * span, rates[-1] + 2 * span)
    axes.set_xlabel("fraction missing")
    _value_axis(axes, score, [point.value for curve in found for point in curve.points])


def _curve(axes: Axes, curve: Curve, label: str, look: Look, offset: float) -> None:
    """Draw one method, moved sideways by `offset`."""
    style = drawn_as(look)
    for number, run in enumerate(curve.runs):
        axes.plot(
            [point.rate + offset for point in run],
            [point.value for point in run],
            **style,
            label=None if number else label,
        )
    for point in curve.points:
        if point.low is not None and point.high is not None:
            axes.plot([point.rate + offset] * 2, [point.low, point.high], color=style["color"], linewidth=0.8)
    for rate, value in curve.published:
        axes.plot(
            [rate + offset],
            [value],
            **(style | {"linestyle": ""}),
            fillstyle="none",
            markersize=5.5,
            markeredgewidth=0.8,
        )


def _value_axis(axes: Axes, score: Score, values: Sequence[float]) -> None:
    if far_apart(values):
        _logarithmic(axes.yaxis, axes.set_yscale)
    axes.set_ylabel(f"{wrapped(score.short, 1.4)}{score.direction}")


def _logarithmic(axis: Axis, set_scale: Callable[[str], None]) -> None:
    """A logarithmic axis with plain numbers, as mathematical type is off."""
    set_scale("log")
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _no_panel(axes: Axes, group: Group, dataset: str, score: Score, rate: float | None = None) -> str:
    """Leave a panel empty, of a data set at one rate or at all of them; why it is empty, for the caption."""
    no_panel(axes, f"no {score.short}: see the caption")
    label = group.spelled("dataset", dataset)
    metrics = [one.metric(score.name) for one in group.of_dataset(dataset) if rate in (None, one.cell.rate)]
    if any(metric.value is not None for metric in metrics):
        return f" {label}: no cost is recorded."
    return f" {label} has no {score.short}: {statistics.mode(metric.reason for metric in metrics)}."


def against_cost(group: Group, scores: Sequence[Score]) -> Drawn | None:
    """Quality against the seconds of fit and imputing: a row a data set, a column a metric.

    A data set's rate is the one with the most complete cells, the highest of several. None if no
    cell is complete.
    """
    done = cells(group.frame)
    done = done[done["status"] == "ok"]
    rate_of, seconds = _fullest(done), _seconds(done)
    complete = [dataset for dataset in dataset_order(group) if dataset in rate_of]
    if not complete:
        return None
    figure, grid = panels(len(complete), len(scores), TEXT_WIDTH, 0.7 + 2.0 * len(complete))
    lacking: list[str] = []
    for dataset, row in zip(complete, grid, strict=True):
        rate = rate_of[dataset]
        for score, axes in zip(scores, row, strict=True):
            points = [
                # A baseline may take no time at all, which a logarithmic axis cannot show.
                (line, max(seconds[*line.key, rate], 1e-3), mean.value)
                for line in all_lines(group)
                if line.dataset == dataset and (mean := group.means.get((score.name, *line.key, rate)))
            ]
            points = [point for point in points if not math.isnan(point[1])]
            if points:
                _draw_costs(axes, group, score, points)
                axes.set_title(f"{group.spelled('dataset', dataset)}, {rate:.0%} missing")
            else:
                lacking.append(_no_panel(axes, group, dataset, score, rate))
    legend(figure, (axes for row in grid for axes in row))
    caption = (
        f"{group.title}. Each data set is shown at the rate with the most complete cells; of several such "
        "rates, at the highest. Numbers are means over seeds. Cost: the seconds of the fit and of imputing "
        "all test images. Methods for which one of these times is not recorded are left out. For a method on "
        "the grey line, no cheaper method is better. The figure does not tell different machines apart; the "
        f"table of costs does.{''.join(lacking)}{long_settings(group, all_lines(group))}"
    )
    return Drawn("cost", figure, caption)


def _fullest(complete: pd.DataFrame) -> dict[str, float]:
    """By data set, the rate with the most of these cells, the highest of several such rates."""
    counts = complete.groupby(["dataset", "rate"]).size().reset_index(name="cells")
    best = counts.sort_values(["cells", "rate"]).drop_duplicates("dataset", keep="last")
    return dict(zip(best["dataset"], best["rate"], strict=True))


def _seconds(complete: pd.DataFrame) -> dict[tuple[str, str, str, float], float]:
    """By data set, method, settings and rate: the mean seconds of the fit and of imputing all test images.

    NaN where not both are recorded: a method may work in either, so that one of them alone would make it look
    cheaper than it is.
    """
    imputing = complete["test"].astype("float64") * complete["impute_ms_per_image"] / 1000
    timed = complete.assign(seconds=complete["fit_seconds"] + imputing)
    return dict(timed.groupby([*LINE, "rate"])["seconds"].mean().items())  # type: ignore[arg-type]


def _draw_costs(axes: Axes, group: Group, score: Score, points: Sequence[tuple[Line, float, float]]) -> None:
    """One panel: a mark a method, at its seconds and its number."""
    look = looks(group)
    for line, seconds, value in points:
        style = drawn_as(look[line.method, line.settings]) | {"linestyle": ""}
        axes.plot([seconds], [value], **style, label=short_label(line, group))
    _front(axes, score, [(seconds, value) for _, seconds, value in points])
    _logarithmic(axes.xaxis, axes.set_xscale)
    axes.set_xlabel("fit and imputing (s)")
    _value_axis(axes, score, [value for *_, value in points])


def _front(axes: Axes, score: Score, points: Sequence[tuple[float, float]]) -> None:
    """A grey line through the points that no cheaper one beats."""
    if score.lower_is_better is None:
        return
    sign = 1 if score.lower_is_better else -1
    front: list[tuple[float, float]] = []
    for seconds, value in sorted(points, key=lambda point: (point[0], sign * point[1])):
        if not front or sign * value < sign * front[-1][1]:
            front.append((seconds, value))
    for (left, before), (right, after) in pairwise(front):
        axes.plot([left, right, right], [before, before, after], color="#999999", linewidth=0.7, zorder=0)


def training(group: Group, dataset: str) -> Drawn | None:
    """Losses by epoch: a panel a method and loss, a colour a rate, a line a seed. None without any."""
    found: dict[tuple[Line, str], list[tuple[float, list[float]]]] = {}
    for line in all_lines(group):
        for result in line.results if line.dataset == dataset else ():
            for name, values in result.history.items():
                found.setdefault((line, name), []).append((result.cell.rate, values))
    if not found:
        return None
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    titles = [
        wrapped(f"{short_label(line, group)}: {name}", TEXT_WIDTH / columns - 0.6) for line, name in found
    ]
    tallest = max(title.count("\n") + 1 for title in titles)
    figure, grid = panels(rows, columns, TEXT_WIDTH, 0.6 + (1.5 + 0.13 * tallest) * rows)
    places = [axes for row in grid for axes in row]
    look_of = _looks_by_rate(rate for histories in found.values() for rate, _ in histories)
    # A legend has its entries in the order in which they were drawn.
    for look in look_of.values():
        places[0].plot([], [], **look)
    for axes, title, histories in zip(places, titles, found.values(), strict=False):
        for rate, values in histories:
            marker = "." if len(values) == 1 else ""
            axes.plot(range(1, len(values) + 1), values, marker=marker, **look_of[rate])
        axes.set_title(title)
        axes.set_xlim(0.5, max(len(values) for _, values in histories) + 0.5)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    for axes in places[len(found) :]:
        axes.set_axis_off()
    for row in grid:
        row[0].set_ylabel("mean over the epoch")
    legend(figure, places)
    caption = (
        f"Training on {group.spelled('dataset', dataset)} ({group.title}): the mean of each loss "
        "over an epoch, a line a seed. The page of each method explains its losses."
    )
    caption += long_settings(group, (line for line, _ in found))
    return Drawn(file_name(f"training-{dataset}"), figure, caption)


def _looks_by_rate(rates: Iterable[float]) -> dict[float, dict[str, Any]]:
    """A colour, dashes and a label for each rate, in ascending order, as matplotlib takes them."""
    return {
        rate: {
            "color": COLOURS[position % len(COLOURS)],
            "linestyle": ("-", "--", ":", "-.")[position % 4],
            "label": f"{rate:.0%} missing",
        }
        for position, rate in enumerate(sorted(set(rates)))
    }
