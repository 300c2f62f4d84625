"""Curves and costs: where lines go, where they break, and what a method is charged for."""

from __future__ import annotations

import tomllib
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.report.figures import plots
from bench.report.figures.style import styled
from bench.report.groups import Group, group_results
from bench.report.html.charts import Chart, chart
from bench.report.looks import Look, looks
from bench.report.metrics import SCORES
from bench.report.published import prflow_paper
from bench.store.results import read_results
from tests.bench.report.stored import failed, result, store


def group_of(root: Path, *documents: dict[str, Any]) -> Group:
    (group,), _ = group_results(read_results(store(root, *documents))[0])
    return group


def axes_of(group: Group) -> Axes:
    with styled():
        drawn = plots.against_rate(group, SCORES[:1])
    assert drawn is not None
    return drawn.figure.axes[0]


def chart_of(group: Group) -> Chart:
    made = chart(group, "mnist", SCORES[0], looks(group))
    assert made is not None
    return made


def rates_of(line: Line2D) -> list[float]:
    return [round(float(rate), 6) for rate in np.asarray(line.get_xdata(), float)]


def test_curves_show_means_intervals_and_what_is_published(tmp_path: Path) -> None:
    # Seeds 0.10, 0.12, 0.17: mean 0.13, s = 0.03606, t(0.975, 2) = 4.3027: 0.13 -+ 0.0896.
    documents = [result("prflow", seed=seed, rmse=rmse) for seed, rmse in enumerate((0.10, 0.12, 0.17))]
    group = group_of(tmp_path, *documents, result("mcflow", rmse=0.2))
    with styled():
        drawn = plots.against_rate(group, SCORES[:1])
    assert drawn is not None
    lines = [(line.get_xdata(), np.asarray(line.get_ydata(), float)) for line in drawn.figure.axes[0].lines]
    values = [value for _, ys in lines for value in ys]
    for expected in (0.13, 0.2, 0.13 - 0.0896, 0.13 + 0.0896, 0.19, 0.21, 0.1490, 0.1581):
        assert any(value == pytest.approx(expected, abs=1e-4) for value in values), expected
    hollow = [line for line in drawn.figure.axes[0].lines if line.get_fillstyle() == "none"]
    assert sorted(y for line in hollow for y in np.asarray(line.get_ydata(), float)) == [0.149, 0.1581]
    assert "Student's t over the seeds" in drawn.caption


def test_a_line_breaks_where_its_method_has_no_number(tmp_path: Path) -> None:
    """At 0.7 it failed and at 0.9 it was not run."""
    documents = [result("a", rate=rate) for rate in (0.5, 0.6, 0.7, 0.8, 0.9)]
    gaps = [result("b", rate=rate) for rate in (0.5, 0.6, 0.8)]
    group = group_of(tmp_path, *documents, *gaps, failed("b", "it broke", rate=0.7))
    axes = axes_of(group)
    drawn = [rates_of(line) for line in axes.lines if line.get_marker() not in ("None", None)]
    # The first mark is moved to the left, the second to the right.
    assert drawn == [[0.485, 0.585, 0.685, 0.785, 0.885], [0.515, 0.615], [0.815]]
    _, labels = axes.get_legend_handles_labels()
    assert labels == ["a", "b"]
    whole, broken = chart_of(group).series
    assert (whole.path.count("M"), whole.path.count("L")) == (1, 4)
    assert (broken.path.count("M"), broken.path.count("L")) == (2, 1)
    assert len(broken.marks) == 3


@pytest.mark.parametrize(
    ("rates", "span"), [((0.5, 0.8), 0.03), ((0.5, 0.52, 0.8), 0.006), ((0.8,), 0.03)], ids=str
)
def test_marks_stay_nearer_to_their_rate_than_to_the_next(
    tmp_path: Path, rates: tuple[float, ...], span: float
) -> None:
    axes = axes_of(group_of(tmp_path, *(result(method, rate=rate) for method in "ab" for rate in rates)))
    first, second = (rates_of(line)[0] for line in axes.lines if line.get_marker() not in ("None", None))
    assert second - first == pytest.approx(span)
    assert axes.get_xlim() == pytest.approx((rates[0] - 2 * span, rates[-1] + 2 * span))


def test_an_interval_that_reaches_zero_is_drawn_whole(tmp_path: Path) -> None:
    group = group_of(tmp_path, result("a", rmse=0.004), result("b", rmse=0.2))
    made = chart_of(group)
    assert not made.logarithmic
    ((low, high),) = [(mark.low, mark.high) for mark in made.series[0].marks]
    # The value stands in the middle of its interval, -0.006 to 0.014.
    assert low is not None and high is not None
    assert (low + high) / 2 == pytest.approx(made.series[0].marks[0].y)


def test_no_method_on_the_grey_line_is_beaten_at_its_cost(tmp_path: Path) -> None:
    points = {"a": (1.0, 0.5), "b": (2.0, 0.6), "c": (3.0, 0.2), "d": (9.0, 0.3)}
    documents = [
        result(name, rmse=rmse, cost={"fit_seconds": seconds, "impute_ms_per_image": 0.0})
        for name, (seconds, rmse) in points.items()
    ]
    with styled():
        drawn = plots.against_cost(group_of(tmp_path, *documents), SCORES[:1])
    assert drawn is not None
    (step,) = [line for line in drawn.figure.axes[0].lines if line.get_color() == "#999999"]
    assert np.asarray(step.get_xydata()).tolist() == [[1.0, 0.5], [3.0, 0.5], [3.0, 0.2]]


def test_a_method_is_charged_for_imputing_too(tmp_path: Path) -> None:
    """10,000 test images at 32 ms are 320 s; what is recorded in part would look cheaper than it is."""
    costs: dict[str, dict[str, float | None]] = {
        "fits": {"fit_seconds": 100.0, "impute_ms_per_image": 0.1},
        "imputes": {"fit_seconds": 0.0, "impute_ms_per_image": 32.0},
        "untold": {"fit_seconds": 2.0, "impute_ms_per_image": None},
        "unfitted": {"fit_seconds": None, "impute_ms_per_image": 1.0},
    }
    documents = [result(method, cost=cost) for method, cost in costs.items()]
    documents.append(result("untold", "celeba", cost=costs["untold"]))
    with styled():
        drawn = plots.against_cost(group_of(tmp_path, *documents), SCORES[:1])
    assert drawn is not None
    mnist, celeba = drawn.figure.axes
    marked = {line.get_label(): float(np.asarray(line.get_xdata())[0]) for line in mnist.lines}
    assert {name: marked[name] for name in marked if str(name)[0] != "_"} == {"fits": 101.0, "imputes": 320.0}
    assert mnist.get_xlabel() == "fit and imputing (s)"
    assert "the fit and of imputing all test images" in drawn.caption
    assert [text.get_text() for text in celeba.texts] == ["no RMSE: see the caption"]
    assert "CelebA: no cost is recorded." in drawn.caption


def test_costs_are_drawn_where_most_methods_have_them(tmp_path: Path) -> None:
    """Data set by data set: one that was measured elsewhere would lose most of its methods."""
    documents = [result(method, rate=0.9) for method in ("mcflow", "prflow")]
    documents += [result(method, "celeba", rate=0.8) for method in ("mcflow", "prflow")]
    documents.append(result("mcflow", "celeba", rate=0.9))
    with styled():
        drawn = plots.against_cost(group_of(tmp_path, *documents), SCORES[:1])
    assert drawn is not None
    assert [axes.get_title() for axes in drawn.figure.axes] == ["MNIST, 90% missing", "CelebA, 80% missing"]
    for axes in drawn.figure.axes:
        labels = {str(line.get_label()) for line in axes.lines}
        assert {"MCFlow", "PRFlow"} <= labels


def test_a_method_looks_the_same_whoever_is_beside_it(tmp_path: Path) -> None:
    alone = looks(group_of(tmp_path / "alone", result("prflow"), result("own")))
    many = [result(method) for method in ("a", "prflow", "misgan", "own")]
    width = result("prflow", cell=result("prflow")["cell"] | {"settings": {"width": 16}})
    beside = looks(group_of(tmp_path / "many", *many, width))
    assert alone["prflow", ""] == beside["prflow", ""] == Look(3, 3, "solid"), "the fourth of the paper"
    assert alone["own", ""] == beside["own", ""]
    assert len({(look.colour, look.mark) for look in beside.values()}) == len(beside) == 5


def test_the_first_settings_of_a_method_look_as_the_method(tmp_path: Path) -> None:
    def wide(method: str, width: int) -> dict[str, Any]:
        return result(method, cell=result(method)["cell"] | {"settings": {"width": width}})

    plain = looks(group_of(tmp_path / "plain", result("misgan"), result("own")))
    other = looks(group_of(tmp_path / "wide", wide("misgan", 16), wide("misgan", 32), wide("own", 16)))
    assert other["misgan", "width=16"] == plain["misgan", ""] and other["own", "width=16"] == plain["own", ""]
    assert other["misgan", "width=32"] != plain["misgan", ""]


def test_no_two_methods_of_many_look_alike_while_there_are_looks(tmp_path: Path) -> None:
    found = looks(group_of(tmp_path, *(result(f"m{number}") for number in range(38))))
    # 7 colours and 6 marks make 42 pairs; four of them belong to the paper's methods, run or not.
    pairs = {(look.colour, look.mark) for look in found.values()}
    assert len(pairs) == 38 and not {(number, number) for number in range(4)} & pairs
    assert len(looks(group_of(tmp_path / "more", *(result(f"m{number}") for number in range(50))))) == 50


def test_this_projects_methods_of_one_colour_differ_in_mark_and_dashes(tmp_path: Path) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    methods = project["entry-points"]["bench.methods"]
    documents = [
        result(method, display={"baseline": method not in prflow_paper().methods}) for method in methods
    ]
    found = looks(group_of(tmp_path, *documents))
    assert {method for method, _ in found} == set(methods)
    assert {look.dashes for look in found.values()} == {"solid", "dashed", "dotted"}
    for one, other in combinations(found.values(), 2):
        assert one.colour != other.colour or (one.mark != other.mark and one.dashes != other.dashes)
