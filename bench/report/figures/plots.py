"""Metric against rate, quality against cost, and training curves."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bench.report.curves import INTERVALS, Curve, curves
from bench.report.figures.style import (
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
from bench.report.groups import Group, spelled
from bench.report.layout import Line, all_lines, dataset_order
from bench.report.looks import Look, looks
from bench.report.metrics import Score
from bench.store.results import Result
from bench.util.text import file_name

WIDEST_SPAN = 0.03
"""How far the methods' marks are moved apart at each rate at most, in rates."""
FAR_APART = 20
"""Positive values with a larger ratio than this get a logarithmic axis."""


def against_rate(group: Group, scores: Sequence[Score]) -> Drawn | None:
    """A row a data set, a column a metric: means over seeds with intervals, the paper's numbers hollow.

    None where no cell is complete.
    """
    if not any(result.ok for result in group.results):
        return None
    datasets = dataset_order(group)
    figure, grid = panels(len(datasets), len(scores), TEXT_WIDTH, 0.7 + 2.0 * len(datasets))
    look = looks(group)
    rates = sorted({result.cell.rate for result in group.results})
    span = min([WIDEST_SPAN, *(0.3 * (after - before) for before, after in pairwise(rates))])
    published = False
    lacking: list[str] = []
    for dataset, row in zip(datasets, grid, strict=True):
        for score, axes in zip(scores, row, strict=True):
            found = curves(group, dataset, score)
            if not found:
                lacking.append(_no_panel(axes, group, dataset, score, group.of_dataset(dataset)))
                continue
            for position, curve in enumerate(found):
                offset = span * (position / max(1, len(found) - 1) - 0.5) if len(found) > 1 else 0.0
                published |= _curve(
                    axes,
                    curve,
                    short_label(curve.line, group),
                    look[curve.line.method, curve.line.settings],
                    offset,
                )
            axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
            axes.set_xlim(rates[0] - 2 * span, rates[-1] + 2 * span)
            axes.set_xlabel("fraction missing")
            _value_axis(axes, score, [point.value for curve in found for point in curve.points])
            axes.set_title(spelled("dataset", dataset, group.results))
    if published:
        (hollow,) = grid[-1][-1].plot([], [], color="#555555", marker="o", fillstyle="none", linestyle="")
        hollow.set_label("hollow: the paper's")
    legend(figure, (axes for row in grid for axes in row))
    told = " Hollow marks are the paper's numbers; an FID's scale is its judge's, so it has none."
    caption = (
        f"{group.title}. {INTERVALS} Marks are moved apart sideways; a line breaks where a method has no "
        f"number.{told if published else ''}{''.join(lacking)}"
    )
    caption += long_settings(group, all_lines(group))
    return Drawn("rates", figure, caption)


def _curve(axes: Axes, curve: Curve, label: str, look: Look, offset: float) -> bool:
    """Draw one method; whether the paper has numbers of it."""
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
    return bool(curve.published)


def _value_axis(axes: Axes, score: Score, values: Sequence[float]) -> None:
    if min(values) > 0 and max(values) > FAR_APART * min(values):
        _logarithmic(axes.yaxis, axes.set_yscale)
    order = {True: " (lower is better)", False: " (higher is better)", None: ""}[score.lower_is_better]
    axes.set_ylabel(f"{wrapped(score.short, 1.4)}{order}")


def _logarithmic(axis: Axis, set_scale: Callable[[str], None]) -> None:
    """A logarithmic axis with plain numbers, as mathematical type is off."""
    set_scale("log")
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _no_panel(axes: Axes, group: Group, dataset: str, score: Score, results: Sequence[Result]) -> str:
    """Leave a panel empty that these results of a data set should fill; why it is, for the caption."""
    no_panel(axes, f"no {score.short}: see the caption")
    label = spelled("dataset", dataset, group.results)
    metrics = [result.metric(score.name) for result in results]
    if any(metric.value is not None for metric in metrics):
        return f" {label}: no cost is recorded."
    return f" {label} has no {score.short}: {statistics.mode(metric.reason for metric in metrics)}."


def against_cost(group: Group, scores: Sequence[Score]) -> Drawn | None:
    """Quality against the seconds of fit and imputing: a row a data set, a column a metric.

    A data set's rate is the one with the most complete cells, the highest of several. None where no
    cell is complete.
    """
    rate_of = {
        dataset: rate
        for dataset in dataset_order(group)
        if (rate := _fullest(result for result in group.of_dataset(dataset) if result.ok)) is not None
    }
    if not rate_of:
        return None
    figure, grid = panels(len(rate_of), len(scores), TEXT_WIDTH, 0.7 + 2.0 * len(rate_of))
    look = looks(group)
    lacking: list[str] = []
    for (dataset, rate), row in zip(rate_of.items(), grid, strict=True):
        for score, axes in zip(scores, row, strict=True):
            points = _cost_points(group, dataset, score, rate)
            if not points:
                there = [result for result in group.of_dataset(dataset) if result.cell.rate == rate]
                lacking.append(_no_panel(axes, group, dataset, score, there))
                continue
            for line, seconds, value in points:
                style = drawn_as(look[line.method, line.settings]) | {"linestyle": ""}
                axes.plot([seconds], [value], **style, label=short_label(line, group))
            _front(axes, score, [(seconds, value) for _, seconds, value in points])
            _logarithmic(axes.xaxis, axes.set_xscale)
            axes.set_xlabel("fit and imputing (s)")
            _value_axis(axes, score, [value for *_, value in points])
            axes.set_title(f"{spelled('dataset', dataset, group.results)}, {rate:.0%} missing")
    legend(figure, (axes for row in grid for axes in row))
    caption = (
        f"{group.title}. Each data set at the rate with the most complete cells, the highest of several. "
        "Means over seeds. Cost: the seconds of the fit and of imputing all test images; methods without "
        "both are left out. No method beats one on the grey line at its cost. Different machines "
        f"are not told apart here; the table of costs does.{''.join(lacking)}"
        f"{long_settings(group, all_lines(group))}"
    )
    return Drawn("cost", figure, caption)


def _fullest(complete: Iterable[Result]) -> float | None:
    """The rate of most of these cells, the highest of several; None where there are none."""
    counts = Counter(result.cell.rate for result in complete)
    return max(counts, key=lambda rate: (counts[rate], rate), default=None)


def _cost_points(group: Group, dataset: str, score: Score, rate: float) -> list[tuple[Line, float, float]]:
    points = []
    for line in all_lines(group):
        if line.dataset != dataset:
            continue
        done = [result for result in line.at(rate) if result.ok]
        values = [value for result in done if (value := result.metric(score.name).value) is not None]
        seconds = [spent for result in done if (spent := _seconds(result)) is not None]
        if values and seconds:
            # A baseline may take no time at all, which a logarithmic axis cannot show.
            points.append((line, max(statistics.fmean(seconds), 1e-3), statistics.fmean(values)))
    return points


def _seconds(result: Result) -> float | None:
    """What the fit and imputing all test images took; None where not all of that is recorded.

    A method may work in either, so that one of them alone would make it look cheaper than it is.
    """
    fit, each, images = result.cost.fit_seconds, result.cost.impute_ms_per_image, result.problem.test
    return None if fit is None or each is None or images is None else fit + images * each / 1000


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
    rates = sorted({rate for histories in found.values() for rate, _ in histories})
    look_of: dict[float, dict[str, Any]] = {
        rate: {
            "color": COLOURS_BY_RATE[position % len(COLOURS_BY_RATE)],
            "linestyle": ("-", "--", ":", "-.")[position % 4],
            "label": f"{rate:.0%} missing",
        }
        for position, rate in enumerate(rates)
    }
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
    label = spelled("dataset", dataset, group.results)
    caption = (
        f"Training on {label} ({group.title}): the mean of each loss over an epoch, a line a seed. "
        "The losses are called as on their method's page."
    )
    caption += long_settings(group, (line for line, _ in found))
    return Drawn(file_name(f"training-{dataset}"), figure, caption)


COLOURS_BY_RATE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
