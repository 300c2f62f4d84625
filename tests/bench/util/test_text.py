"""Refusals of unknown names, and counts."""

from __future__ import annotations

import pytest

from bench.util.text import counted, unknown

METHODS = ("mcflow", "prflow", "knn", "mean", "baselines")


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("PRFlow", METHODS, "did you mean 'prflow'?"),
        ("MCFLOW", METHODS, "did you mean 'mcflow'?"),
        ("KNN", METHODS, "did you mean 'knn'?"),
        ("MNIST", ("mnist", "cifar10"), "did you mean 'mnist'?"),
        ("CIFAR-10", ("mnist", "cifar10"), "did you mean 'cifar10'?"),
        ("mine", ("MyMethod", "Mine"), "did you mean 'Mine'?"),
        ("maen", METHODS, "did you mean 'mean'?"),
        ("zebra", ("mnist", "cifar10"), "known: cifar10, mnist"),
        ("zebra", (), "known: none"),
    ],
)
def test_the_nearest_name_is_offered_whatever_its_capitals(
    name: str, known: tuple[str, ...], hint: str
) -> None:
    assert unknown("name", name, known) == f"unknown name {name!r}; {hint}"


@pytest.mark.parametrize(("number", "told"), [(0, "0 cells"), (1, "1 cell"), (2, "2 cells")])
def test_one_is_no_plural(number: int, told: str) -> None:
    assert counted(number, "cell") == told
