"""The critical-difference diagram: which methods can be told apart over all problems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bench.report.figures.style import TEXT_WIDTH, TYPE_SIZE, Drawn, long_settings, short_label, wrapped
from bench.report.groups import Group, spelled
from bench.report.layout import all_lines
from bench.report.looks import Kind
from bench.report.metrics import Score
from bench.report.published import Published
from bench.util.statistics import Ranking, rank

FEWEST_PROBLEMS, FEWEST_METHODS = 2, 3
MOST_PROBLEMS = 12
"""Up to here every choice of problems is tried."""

Problem = tuple[str, float]
"""A data set and a rate."""
Scores = dict[Problem, dict[Kind, float]]


def critical_differences(group: Group, paper: Published, score: Score) -> Drawn | None:
    """Methods by mean rank over the problems; None where fewer than three share two problems."""
    scores = problem_scores(group, paper, score)
    problems, methods = complete_part(scores)
    if len(problems) < FEWEST_PROBLEMS or len(methods) < FEWEST_METHODS or score.lower_is_better is None:
        return None
    table = np.array([[scores[problem][method] for method in methods] for problem in problems])
    datasets = [dataset for dataset, _ in problems]
    ranking = rank(table, datasets, score.lower_is_better)
    # No two mean ranks lie further apart than the first place and the last.
    difference = ranking.critical_difference if ranking.critical_difference < len(methods) - 1 else None
    labels = {(line.method, line.settings): short_label(line, group) for line in all_lines(group, paper)}
    everyone = dict.fromkeys(method for found in scores.values() for method in found)
    without = [labels[method] for method in everyone if method not in methods]
    absent = f" Left out, without a number on one of them: {', '.join(without)}." if without else ""
    caption = (
        f"{group.title}. Ranks by {score.short} over {len(problems)} problems "
        f"({_named(group, problems)}; means over seeds), 1 the best, averaged within each data set first and "
        "then over data sets. "
        f"{_tested(ranking, difference, len(set(datasets)), len(methods))}{absent}"
        f"{long_settings(group, all_lines(group, paper))}"
    )
    drawn = _draw([labels[method] for method in methods], ranking.ranks, difference)
    return Drawn(f"ranks-{score.file_name}", drawn, caption)


def _named(group: Group, problems: Iterable[Problem]) -> str:
    """The problems for a reader: "MNIST at 0.6, 0.9; CelebA at 0.8"."""
    rates: dict[str, list[float]] = {}
    for dataset, rate in problems:
        rates.setdefault(dataset, []).append(rate)
    return "; ".join(
        f"{spelled('dataset', dataset, group.results)} at {', '.join(f'{rate:g}' for rate in sorted(of))}"
        for dataset, of in rates.items()
    )


def _tested(ranking: Ranking, difference: float | None, datasets: int, methods: int) -> str:
    """What the tests say, and over how many data sets; `difference` as `_draw` takes it."""
    counted = f"{datasets} data set{'s are' if datasets > 1 else ' is'}"
    once = "For the tests a data set counts once, whatever its rates"
    if difference is None:
        return f"{once}: {counted} too few for Nemenyi's test to tell any two of {methods} methods apart."
    # A small p beside one bar over everything looks like a contradiction.
    joined = (
        " Here it joins all: Nemenyi's test tells no two methods apart, even where Friedman's p, which is of "
        "all methods at once, is small."
    )
    return (
        f"{once}: {datasets} data sets. Friedman's test: p = {ranking.p_value:.2g}. A bar joins methods "
        f"whose mean ranks differ by less than Nemenyi's critical difference at 5 %, {difference:.2f}."
        f"{joined * (max(ranking.ranks) - min(ranking.ranks) < difference)}"
    )


def problem_scores(group: Group, paper: Published, score: Score) -> Scores:
    """The mean over seeds by problem and method."""
    found: Scores = {}
    for line in all_lines(group, paper):
        for rate in sorted({result.cell.rate for result in line.results}):
            values = [
                value for result in line.at(rate) if (value := result.metric(score.name).value) is not None
            ]
            if values:
                mean = sum(values) / len(values)
                found.setdefault((line.dataset, rate), {})[line.method, line.settings] = mean
    return found


def complete_part(scores: Scores) -> tuple[list[Problem], list[Kind]]:
    """The problems and methods without a gap between them that hold the most numbers.

    Of choices with as many numbers, the one with more problems.
    """
    problems = list(scores)
    sizes = range(1, len(problems) + 1) if len(problems) <= MOST_PROBLEMS else [len(problems)]
    best: tuple[list[Problem], list[Kind]] = ([], [])
    for size in reversed(sizes):
        for chosen in combinations(problems, size):
            methods = [kind for kind in scores[chosen[0]] if all(kind in scores[one] for one in chosen)]
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


def _draw(methods: Sequence[str], ranks: Sequence[float], difference: float | None) -> Figure:
    """Demsar's diagram (2006, figure 1), the best at the left; half of the names on either side.

    Args:
        difference: the critical one; where it is None, no ranks can be told apart, and the diagram has no
            bars.
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
