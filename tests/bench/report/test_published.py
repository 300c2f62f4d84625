"""The paper's numbers as the package reads them, against the paper's text."""

from __future__ import annotations

import pytest

from bench.report.published import prflow_paper


@pytest.mark.parametrize(
    ("metric", "dataset", "method", "rate", "value"),
    [
        ("rmse", "mnist", "misgan", 0.6, 0.1329),
        ("rmse", "mnist", "prflow", 0.8, 0.1490),
        ("rmse", "cifar10", "pbigan", 0.9, 0.4448),
        ("rmse", "celeba", "mcflow", 0.7, 0.0828),
        ("fid", "mnist", "mcflow", 0.9, 8.5047),
        ("fid", "celeba", "prflow", 0.6, 0.0887),
        ("scc", "mnist", "pbigan", 0.8, 0.9183),
        ("scc", "cifar10", "prflow", 0.9, 0.3559),
        ("scc", "celeba", "prflow", 0.9, None),
        ("rmse", "mnist", "prflow", 0.5, None),
        ("rmse", "mnist", "mean", 0.8, None),
    ],
)
def test_values(metric: str, dataset: str, method: str, rate: float, value: float | None) -> None:
    assert prflow_paper().value(metric, dataset, method, rate) == value


@pytest.mark.parametrize(
    ("metric", "dataset", "total"),
    [
        ("rmse", "mnist", 3.1469),
        ("rmse", "cifar10", 3.5567),
        ("rmse", "celeba", 3.1246),
        ("fid", "mnist", 37.8398),
        ("fid", "cifar10", 12.9045),
        ("fid", "celeba", 7.3799),
        ("scc", "mnist", 13.7475),
        ("scc", "cifar10", 6.5760),
    ],
)
def test_the_values_of_each_table_add_up(metric: str, dataset: str, total: float) -> None:
    values = prflow_paper().values
    found = sum(value for (name, of, _, _), value in values.items() if (name, of) == (metric, dataset))
    assert found == pytest.approx(total, abs=1e-6)


def test_all_128_cells_in_the_papers_order() -> None:
    paper = prflow_paper()
    assert len(paper.values) == 128
    assert tuple(paper.datasets) == ("mnist", "cifar10", "celeba")
    assert tuple(paper.methods) == ("misgan", "pbigan", "mcflow", "prflow")
