"""What is bold in a table: the best, what a paired test ties with it, and when nothing can be said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bench.report.groups import group_results
from bench.report.layout import Table
from bench.report.tables import build_tables
from bench.store.results import read_results
from tests.bench.report.stored import best, failed, result, store, tables_of


def test_the_best_of_each_data_set_and_rate(tmp_path: Path) -> None:
    tables = tables_of(
        tmp_path,
        result("mcflow", rate=0.6, rmse=0.1, fid=2.0, scc=0.9),
        result("prflow", rate=0.6, rmse=0.2, fid=1.0, scc=0.95),
        result("mcflow", rate=0.8, rmse=0.3),
        result("prflow", rate=0.8, rmse=0.29999),
        result("mcflow", "cifar10", rate=0.6),
    )
    # 0.3 and 0.29999 print alike; a method that stands alone beats nobody.
    expected = {("MNIST", "MCFlow", "0.6"), ("MNIST", "MCFlow", "0.8"), ("MNIST", "PRFlow", "0.8")}
    assert best(tables["rmse"]) == expected
    assert ("MNIST", "PRFlow", "0.6") in best(tables["fid"])
    assert ("MNIST", "MCFlow", "0.6") not in best(tables["fid"])
    assert ("MNIST", "PRFlow", "0.6") in best(tables["scc"])


def test_nothing_is_bold_where_a_method_has_no_number(tmp_path: Path) -> None:
    told = (
        "Nothing is bold for a data set and rate if a method that was run there has no number: it might have "
        "been the best."
    )
    whole = [result(method, rate=0.6, rmse=rmse) for method, rmse in (("a", 0.1), ("b", 0.2), ("c", 0.3))]
    whole += [result("a", "cifar10", 0.7), result("b", "cifar10", 0.7, rmse=0.2)]
    table = tables_of(tmp_path / "whole", *whole, compare=True)["rmse"]
    # Neither the paper's methods nor those of another data set are missing here.
    assert best(table) == {("MNIST", "a", "0.6"), ("CIFAR-10", "a", "0.7")} and told not in table.caption
    partial = [*whole, result("a", rate=0.7, rmse=0.1), result("b", rate=0.7), failed("c", "broke", rate=0.7)]
    table = tables_of(tmp_path / "partial", *partial)["rmse"]
    assert best(table) == {("MNIST", "a", "0.6"), ("CIFAR-10", "a", "0.7")} and told in table.caption
    alone = [result("a"), result("b"), failed("c", "broke")]
    table = tables_of(tmp_path / "alone", *alone)["rmse"]
    assert best(table) == set() and table.caption[1] == told


def write_scores(root: Path, scores: dict[tuple[str, int], np.ndarray], metric: str = "rmse") -> None:
    for path in root.rglob("result.json"):
        cell = json.loads(path.read_text())["cell"]
        own = scores.get((cell["method"], cell["seed"]))
        if own is not None:
            np.savez(path.with_name("per-image.npz"), metrics=np.array([metric]), scores=own[None])


def first_table(root: Path) -> Table:
    found, _ = read_results(root)
    (tables,) = build_tables(group_results(found)[0], False)
    return tables.tables[0]


def test_many_rivals_make_the_best_harder_to_tell_apart(tmp_path: Path) -> None:
    # Differences of -1, -1.6, -0.9: t = -5.38 with 2 degrees of freedom, p = 0.033. Three pairs make it 0.10.
    worse = (2.0, 2.6, 1.9)

    def table(folder: str, rivals: str) -> Table:
        documents = [result("a", seed=seed, fid=1.0) for seed in range(3)]
        documents += [result(name, seed=seed, fid=worse[seed]) for name in rivals for seed in range(3)]
        return tables_of(tmp_path / folder, *documents)["fid"]

    assert best(table("one", "b")) == {("MNIST", "a", "0.8")}
    assert best(table("two", "bc")) == {("MNIST", name, "0.8") for name in "abc"}


def test_whatever_a_paired_test_ties_with_the_best_is_bold(tmp_path: Path) -> None:
    """Images differ much and methods by little: only pairing tells "worse" from the best, not "alike"."""
    seeds, generator = range(4), np.random.default_rng(5)
    means = {"best": 0.16, "alike": 0.161, "worse": 0.17}
    documents = [result(method, seed=seed, rmse=rmse) for method, rmse in means.items() for seed in seeds]
    root = store(tmp_path, *documents)
    hard = generator.exponential(1.0, 300)
    noise = {name: generator.normal(0, 0.1, (4, 300)) for name in means}
    shift = {"best": 0.0, "alike": 0.0, "worse": 0.05}
    write_scores(
        root, {(name, seed): hard + noise[name][seed] + shift[name] for name in means for seed in seeds}
    )
    table = first_table(root)
    assert best(table) == {("MNIST", "best", "0.8"), ("MNIST", "alike", "0.8")}
    place = next(at for at, line in enumerate(table.caption) if line.startswith("Bold"))
    assert table.caption[place : place + 2] == (
        "Bold: the best mean for each data set and rate, and any mean printed as the same number, and all "
        "methods that a test cannot tell from the best one.",
        "The test: paired and two-sided, over test images and seeds, both as random effects, at 5 %, "
        "corrected for all pairs of methods.",
    )


def test_without_seeds_or_scores_the_plain_best_is_bold_and_the_caption_says_so(tmp_path: Path) -> None:
    methods = {"mcflow": 0.2, "prflow": 0.1}
    one = store(tmp_path / "one", *(result(name, rmse=rmse) for name, rmse in methods.items()))
    assert best(first_table(one)) == {("MNIST", "PRFlow", "0.8")}
    told = "Bold: the best mean for each data set and rate, and any mean printed as the same number."
    assert {told, "No test was made: it needs three seeds."} <= {*first_table(one).caption}
    several = [result(name, seed=seed, rmse=rmse) for name, rmse in methods.items() for seed in range(3)]
    unstored = store(tmp_path / "several", *several)
    (unstored / "mnist").rglob("result.json").__next__().with_name("per-image.npz").write_bytes(b"torn")
    assert best(first_table(unstored)) == {("MNIST", "PRFlow", "0.8")}
    why = "No test was made: it needs three shared seeds and their scores of single images."
    assert {told, why} <= {*first_table(unstored).caption}


def test_an_fid_is_tested_over_seeds(tmp_path: Path) -> None:
    """Differences -1, -3, -0.5: t = -1.96, two degrees of freedom, p = 0.19; -1, -1.1, -1.05: p = 0.0008."""
    for last, bold in (((2.0, 4.0, 1.5), {"a", "b"}), ((2.0, 2.1, 2.05), {"a"})):
        documents = [result("a", seed=seed, fid=1.0) for seed in range(3)]
        documents += [result("b", seed=seed, fid=fid) for seed, fid in enumerate(last)]
        found = best(tables_of(tmp_path / f"{len(bold)}", *documents)["fid"])
        assert found == {("MNIST", name, "0.8") for name in bold}


def test_two_seeds_are_too_few_for_the_test(tmp_path: Path) -> None:
    """Differences -1 and -1.1: p = 0.03."""
    documents = [result("a", seed=seed, fid=1.0) for seed in range(2)]
    documents += [result("b", seed=seed, fid=fid) for seed, fid in enumerate((2.0, 2.1))]
    table = tables_of(tmp_path, *documents)["fid"]
    assert best(table) == {("MNIST", "a", "0.8")}
    assert "No test was made: it needs three seeds." in table.caption
