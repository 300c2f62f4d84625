"""Critical-difference diagrams: who is ranked over what, and what the test can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from bench.report.figures import ranks
from bench.report.figures.style import Drawn, styled
from bench.report.groups import group_results
from bench.report.metrics import SCORES
from bench.store.results import read_results
from tests.bench.report.stored import result, store


def drawn_of(root: Path, *documents: dict[str, Any]) -> Drawn | None:
    (group,), _ = group_results(read_results(store(root, *documents))[0])
    with styled():
        return ranks.critical_differences(group, SCORES[0])


def texts(figure: Figure) -> set[str]:
    return {text.get_text().strip() for text in figure.findobj(Text) if isinstance(text, Text)}


def bars(figure: Figure) -> list[Line2D]:
    return [line for line in figure.axes[0].lines if line.get_linewidth() > 2]


def test_ranks_are_over_the_problems_that_methods_share(tmp_path: Path) -> None:
    documents = [
        result(method, dataset, rate=rate, rmse=rmse)
        for dataset in ("mnist", "cifar10", "celeba", "own")
        for rate in (0.6, 0.8)
        for method, rmse in (("a", 0.1), ("b", 0.2), ("c", 0.3))
        if (dataset, rate) != ("celeba", 0.6)
    ]
    drawn = drawn_of(tmp_path / "four", *documents, result("d", rate=0.6), result("d", "cifar10"))
    assert drawn is not None
    assert {"a  1.00", "b  2.00", "3.00  c", "critical difference 1.66"} <= texts(drawn.figure)
    assert "over 7 problems (MNIST at 0.6, 0.8; CIFAR-10 at 0.6, 0.8; CelebA at 0.8; own at" in drawn.caption
    assert "because they have no number for some problem: d" in drawn.caption and "Friedman" in drawn.caption
    # q is 2.343 for three methods at 5 % (Demsar, Table 5a): 2.343 sqrt(3 * 4 / (6 * 4)), of four data sets.
    assert "at 5 %, 1.66." in drawn.caption and "4 data sets." in drawn.caption
    assert "averaged within each data set first, and then over data sets." in drawn.caption
    assert len(bars(drawn.figure)) == 2 and "joins all" not in drawn.caption
    assert drawn_of(tmp_path / "few", result("a"), result("b"), result("c")) is None


def test_a_test_that_can_tell_nothing_draws_no_bar(tmp_path: Path) -> None:
    """Three methods and two data sets: 2.343 sqrt(3 * 4 / (6 * 2)) = 2.34 is more than a gap can be, 2."""
    for datasets, told in ((("mnist",), "One data set is"), (("mnist", "celeba"), "2 data sets are")):
        drawn = drawn_of(
            tmp_path / told,
            *(
                result(method, dataset, rate=rate, rmse=rmse)
                for method, rmse in (("a", 0.1), ("b", 0.2), ("c", 0.3))
                for dataset in datasets
                for rate in (0.6, 0.9)
            ),
        )
        assert drawn is not None
        assert f"{told} too few for Nemenyi's test to tell any two of 3 methods apart." in drawn.caption
        assert "Friedman" not in drawn.caption and "bar" not in drawn.caption
        assert bars(drawn.figure) == []
        assert {"a  1.00", "3.00  c"} <= texts(drawn.figure)
        assert not any("critical difference" in text for text in texts(drawn.figure))


def test_a_bar_over_all_methods_is_told(tmp_path: Path) -> None:
    """Ranks 1.5, 1.5, 3 on each of four data sets: no gap is as wide as the critical difference, 1.66."""
    drawn = drawn_of(
        tmp_path,
        *(
            result(method, dataset, rate=rate, rmse=rmse)
            for dataset in ("mnist", "cifar10", "celeba", "own")
            for rate, a, b in ((0.6, 0.1, 0.2), (0.9, 0.2, 0.1))
            for method, rmse in (("a", a), ("b", b), ("c", 0.3))
        ),
    )
    assert drawn is not None
    assert len(bars(drawn.figure)) == 1
    assert "joins all methods: Nemenyi's test tells no two of them apart" in drawn.caption


def test_methods_of_one_name_are_ranked_apart(tmp_path: Path) -> None:
    documents = [
        result(method, rate=rate, rmse=rmse, display={"method": label})
        for rate in (0.6, 0.9)
        for method, label, rmse in (("a", "Flow", 0.1), ("b", "Flow", 0.3), ("c", "", 0.2))
    ]
    drawn = drawn_of(tmp_path, *documents)
    assert drawn is not None
    assert {"Flow (a)  1.00", "c  2.00", "3.00  Flow (b)"} <= texts(drawn.figure)


def test_bars_join_the_longest_runs_within_the_difference() -> None:
    assert ranks.cliques([1.0, 1.5, 2.4, 4.0], 1.0) == [(1.0, 1.5), (1.5, 2.4)]
    assert ranks.cliques([1.0, 1.9, 2.8], 2.0) == [(1.0, 2.8)]
    assert ranks.cliques([1.0, 3.0], 1.0) == []
