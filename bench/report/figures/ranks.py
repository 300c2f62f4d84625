"""The critical-difference diagram: which methods can be told apart over all problems."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bench.report.figures.style import TEXT_WIDTH, TYPE_SIZE, Drawn, long_settings, short_label, wrapped
from bench.report.groups import Group
from bench.report.layout import all_lines
from bench.report.metrics import Score
from bench.report.published import Published
from bench.statistics import Ranking, rank

FEWEST_PROBLEMS, FEWEST_METHODS = 2, 3
MOST_PROBLEMS = 12
"""Up to here every choice of problems is tried."""

Scores = dict[tuple[str, float], dict[str, float]]


def critical_differences(group: Group, paper: Published, score: Score) -> Drawn | None:
    """Methods by mean rank over the problems; None where fewer than three share two problems."""
    scores = problem_scores(group, paper, score)
    problems, methods = complete_part(scores)
    if len(problems) < FEWEST_PROBLEMS or len(methods) < FEWEST_METHODS or score.lower_is_better is None:
        return None
    table = np.array([[scores[problem][method] for method in methods] for problem in problems])
    datasets = [dataset for dataset, _ in problems]
    ranking = rank(table, datasets, score.lower_is_better)
    count = len(set(datasets))
    everyone = dict.fromkeys(method for found in scores.values() for method in found)
    without = [method for method in everyone if method not in methods]
    absent = f" Left out, without a number on one of them: {', '.join(without)}." if without else ""
    caption = (
        f"{group.title}. Mean ranks by {score.short} over {len(problems)} problems (data sets and rates; "
        f"means over seeds), 1 the best. For the tests {'a data set counts' if count > 1 else 'these count'} "
        f"once, whatever its rates: {count} data set{'s' * (count > 1)}. Friedman's test: "
        f"p = {ranking.p_value:.2g}. A bar joins methods whose mean ranks differ by less than Nemenyi's "
        f"critical difference at 5 %, {ranking.critical_difference:.2f}.{absent}"
        f"{long_settings(group, all_lines(group, paper))}"
    )
    return Drawn(f"ranks-{score.file_name}", _draw(methods, ranking), caption)


def problem_scores(group: Group, paper: Published, score: Score) -> Scores:
    """The mean over seeds by problem (data set and rate) and method."""
    found: Scores = {}
    for line in all_lines(group, paper):
        for rate in sorted({result.cell.rate for result in line.results}):
            values = [
                value for result in line.at(rate) if (value := result.metric(score.name).value) is not None
            ]
            if values:
                found.setdefault((line.dataset, rate), {})[short_label(line, group)] = sum(values) / len(
                    values
                )
    return found


def complete_part(scores: Scores) -> tuple[list[tuple[str, float]], list[str]]:
    """The problems and methods without a gap between them that hold the most numbers.

    Of choices with as many numbers, the one with more problems.
    """
    problems = list(scores)
    sizes = range(1, len(problems) + 1) if len(problems) <= MOST_PROBLEMS else [len(problems)]
    best: tuple[list[tuple[str, float]], list[str]] = ([], [])
    for size in reversed(sizes):
        for chosen in combinations(problems, size):
            methods = [name for name in scores[chosen[0]] if all(name in scores[one] for one in chosen)]
            enough = len(methods) >= FEWEST_METHODS and size >= FEWEST_PROBLEMS
            if enough and size * len(methods) > len(best[0]) * len(best[1]):
                best = list(chosen), methods
    return best


def cliques(ranks: Sequence[float], difference: float) -> list[tuple[float, float]]:
    """From and to which rank each bar goes: the longest runs of ranks within the difference."""
    ordered = sorted(ranks)
    bars: list[tuple[float, float]] = []
    for start, low in enumerate(ordered):
        high = max(value for value in ordered[start:] if value - low < difference)
        if high > low and (not bars or high > bars[-1][1]):
            bars.append((low, high))
    return bars


def _draw(methods: Sequence[str], ranking: Ranking) -> Figure:
    """Demsar's diagram (2006, figure 1), the best at the left; half of the names on either side."""
    bars = cliques(ranking.ranks, ranking.critical_difference)
    half = -(-len(methods) // 2)
    labels = [wrapped(name, 1.4) for name in methods]
    step = 0.17 * max(label.count("\n") + 1 for label in labels)
    height = 0.75 + 0.09 * len(bars) + step * half
    figure = Figure(figsize=(TEXT_WIDTH, height))
    axes = figure.add_axes((0.27, 0.0, 0.46, 1.0))
    lowest, highest = 1, len(methods)
    axes.set_xlim(lowest, highest)
    # Inches downwards from the top.
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    line: dict[str, Any] = {"color": "black", "linewidth": 0.7, "clip_on": False}
    scale = 0.55
    axes.plot([lowest, highest], [scale, scale], **line)
    for tick in range(lowest, highest + 1):
        axes.plot([tick, tick], [scale - 0.05, scale], **line)
        axes.text(tick, scale - 0.07, str(tick), ha="center", va="bottom")
    length = min(ranking.critical_difference, highest - lowest)
    axes.plot([lowest, lowest + length], [0.22, 0.22], **(line | {"linewidth": 1.2}))
    longer = "" if length == ranking.critical_difference else ", longer than the scale"
    axes.text(lowest, 0.17, f"critical difference {ranking.critical_difference:.2f}{longer}", va="bottom")
    for number, (low, high) in enumerate(bars):
        y = scale + 0.09 * (number + 1)
        axes.plot([low - 0.03, high + 0.03], [y, y], **(line | {"linewidth": 2.5, "color": "#0072B2"}))
    order = sorted(range(len(methods)), key=lambda position: ranking.ranks[position])
    under = scale + 0.09 * len(bars) + 0.17
    for place, position in enumerate(order):
        left = place < half
        level = under + step * (place if left else len(methods) - 1 - place)
        value = ranking.ranks[position]
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
