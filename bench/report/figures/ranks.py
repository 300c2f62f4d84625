"""The critical-difference diagram: which methods the tests can tell apart over all problems."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.report.figures.style import TEXT_WIDTH, TYPE_SIZE, Drawn, long_settings, short_label, wrapped
from bench.report.groups import Group
from bench.report.layout import all_lines, dataset_order, kinds_of
from bench.report.looks import Kind
from bench.report.metrics import Score
from bench.util.statistics import Ranking, rank

FEWEST_PROBLEMS, FEWEST_METHODS = 2, 3
MOST_PROBLEMS = 12
"""Up to here every choice of problems is tried."""


def critical_differences(group: Group, score: Score) -> Drawn | None:
    """Methods by mean rank over the problems; None if fewer than three methods share two problems."""
    problems = [(dataset, rate) for dataset in dataset_order(group) for rate in group.rates]
    kinds = list(kinds_of(group))
    scores = np.array(
        [[_mean(group, score, dataset, kind, rate) for kind in kinds] for dataset, rate in problems]
    )
    rows, columns = complete_part(~np.isnan(scores))
    if not rows or score.lower_is_better is None:
        return None
    datasets = [problems[row][0] for row in rows]
    ranking = rank(scores[np.ix_(rows, columns)], datasets, score.lower_is_better)
    # No two mean ranks lie further apart than the first place and the last.
    difference = ranking.critical_difference if ranking.critical_difference < len(columns) - 1 else None
    short = {(line.method, line.settings): short_label(line, group) for line in all_lines(group)}
    labels = [short[kind] for kind in kinds]
    some = np.flatnonzero((~np.isnan(scores)).any(axis=0))
    without = ", ".join(labels[column] for column in some if column not in columns)
    caption = (
        f"{group.title}. Mean ranks by {score.short} over {len(rows)} problems "
        f"({_named(group, [problems[row] for row in rows])}); 1 is the best. Each problem ranks the means "
        "over seeds. Ranks are averaged within each data set first, and then over data sets. "
        f"{_tested(ranking, difference, len(set(datasets)), len(columns))}"
        f"{f' Left out, because they have no number for some problem: {without}.' if without else ''}"
        f"{long_settings(group, all_lines(group))}"
    )
    drawn = _draw([labels[column] for column in columns], ranking.ranks, difference)
    return Drawn(f"ranks-{score.file_name}", drawn, caption)


def _mean(group: Group, score: Score, dataset: str, kind: Kind, rate: float) -> float:
    """The mean over seeds; NaN if there is none."""
    mean = group.means.get((score.name, dataset, *kind, rate))
    return math.nan if mean is None else mean.value


def _named(group: Group, problems: Iterable[tuple[str, float]]) -> str:
    """The problems for a reader: "MNIST at 0.6, 0.9; CelebA at 0.8"."""
    rates: dict[str, list[float]] = {}
    for dataset, rate in problems:
        rates.setdefault(dataset, []).append(rate)
    return "; ".join(
        f"{group.spelled('dataset', dataset)} at {', '.join(f'{rate:g}' for rate in sorted(of))}"
        for dataset, of in rates.items()
    )


def _tested(ranking: Ranking, difference: float | None, datasets: int, methods: int) -> str:
    """What the tests say, and over how many data sets. `difference` is as for `_draw`."""
    counted = "One data set is" if datasets == 1 else f"{datasets} data sets are"
    once = "In the tests each data set counts once, however many rates it has."
    if difference is None:
        return f"{once} {counted} too few for Nemenyi's test to tell any two of {methods} methods apart."
    # Without this sentence, a small p beside one bar over all methods looks like a contradiction.
    joined = (
        " Here it joins all methods: Nemenyi's test tells no two of them apart. Friedman's p can still be "
        "small, because that test is of all methods at once."
    )
    return (
        f"{once} There are {datasets} data sets. Friedman's test: p = {ranking.p_value:.2g}. "
        "A bar joins methods whose mean ranks differ by less than Nemenyi's critical difference at 5 %, "
        f"{difference:.2f}."
        f"{joined * (max(ranking.ranks) - min(ranking.ranks) < difference)}"
    )


def complete_part(there: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """The problems and methods without a gap between them that hold the most numbers.

    Of two choices with equally many numbers, the one with more problems.

    Args:
        there: (P, M), whether a method, in a column, has a number for a problem, in a row.

    Returns:
        The positions of the rows and of the columns; none where there are too few of either.
    """
    problems = [int(row) for row in np.flatnonzero(there.any(axis=1))]
    count = len(problems)
    sizes = range(FEWEST_PROBLEMS, count + 1) if count <= MOST_PROBLEMS else [count]
    best: tuple[list[int], list[int]] = ([], [])
    for size in reversed(sizes):
        for rows in combinations(problems, size):
            columns = [int(column) for column in np.flatnonzero(there[[*rows]].all(axis=0))]
            if len(columns) >= FEWEST_METHODS and size * len(columns) > len(best[0]) * len(best[1]):
                best = [*rows], columns
    return best


def cliques(ranks: Sequence[float], difference: float) -> list[tuple[float, float]]:
    """The first and last rank of each bar: the longest runs of ranks that span less than the difference."""
    ordered = sorted(ranks)
    bars: list[tuple[float, float]] = []
    for start, low in enumerate(ordered):
        high = max(value for value in ordered[start:] if value - low < difference)
        if high > low and (not bars or high > bars[-1][1]):
            bars.append((low, high))
    return bars


def _draw(methods: Sequence[str], ranks: Sequence[float], difference: float | None) -> Figure:
    """Demsar's diagram (2006, figure 1), the best at the left; half of the names on either side.

    Args:
        difference: the critical one. None if no ranks can be told apart; the diagram then has no bars.
    """
    bars = [] if difference is None else cliques(ranks, difference)
    half = -(-len(methods) // 2)
    labels = [wrapped(name, 1.4) for name in methods]
    step = 0.17 * max(label.count("\n") + 1 for label in labels)
    # The critical difference is drawn above the scale.
    scale = 0.25 if difference is None else 0.55
    height = scale + 0.2 + 0.09 * len(bars) + step * half
    figure = Figure(figsize=(TEXT_WIDTH, height))
    axes = figure.add_axes((0.27, 0.0, 0.46, 1.0))
    lowest, highest = 1, len(methods)
    axes.set_xlim(lowest, highest)
    # Inches downwards from the top.
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    line: dict[str, Any] = {"color": "black", "linewidth": 0.7, "clip_on": False}
    axes.plot([lowest, highest], [scale, scale], **line)
    for tick in range(lowest, highest + 1):
        axes.plot([tick, tick], [scale - 0.05, scale], **line)
        axes.text(tick, scale - 0.07, str(tick), ha="center", va="bottom")
    if difference is not None:
        axes.plot([lowest, lowest + difference], [0.22, 0.22], **(line | {"linewidth": 1.2}))
        axes.text(lowest, 0.17, f"critical difference {difference:.2f}", va="bottom")
    for number, (low, high) in enumerate(bars):
        y = scale + 0.09 * (number + 1)
        axes.plot([low - 0.03, high + 0.03], [y, y], **(line | {"linewidth": 2.5, "color": "#0072B2"}))
    order = sorted(range(len(methods)), key=lambda position: ranks[position])
    under = scale + 0.09 * len(bars) + 0.17
    for place, position in enumerate(order):
        left = place < half
        level = under + step * (place if left else len(methods) - 1 - place)
        value = ranks[position]
        edge = lowest - 0.02 * (highest - lowest) if left else highest + 0.02 * (highest - lowest)
        axes.plot([value, value, edge], [scale, level, level], **line)
        text = f"{labels[position]}  {value:.2f}" if left else f"{value:.2f}  {labels[position]}"
        axes.text(
            edge,
            level,
            text + " " if left else " " + text,
            ha="right" if left else "left",
            va="center",
            fontsize=TYPE_SIZE,
        )
    return figure
