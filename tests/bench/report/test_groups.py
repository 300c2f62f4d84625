"""Which results share a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.report.groups import Group, group_results
from bench.results import read_results
from tests.bench.report.stored import failed, result, store


def groups_of(root: Path, *documents: dict[str, Any]) -> tuple[list[Group], list[str]]:
    found, unread = read_results(store(root, *documents))
    assert len(found) == len(documents) and not unread
    return group_results(found)


def members(group: Group) -> list[tuple[str, str]]:
    return sorted((one.cell.dataset, one.cell.method) for one in group.results)


def elsewhere(method: str, **cell: Any) -> dict[str, Any]:
    return result(method, cell=result(method)["cell"] | cell)


def test_presets_and_mechanisms_stand_apart(tmp_path: Path) -> None:
    groups, _ = groups_of(
        tmp_path,
        result("prflow"),
        elsewhere("prflow", preset="paper"),
        elsewhere("prflow", mechanism="block"),
    )
    assert [(one.mechanism, one.preset, one.parts) for one in groups] == [
        ("block", "quick", 1),
        ("pixel", "paper", 1),
        ("pixel", "quick", 1),
    ]


def test_data_sets_differ_in_size_within_a_group(tmp_path: Path) -> None:
    (group,), _ = groups_of(tmp_path, result("prflow"), result("prflow", "cifar10"))
    assert members(group) == [("cifar10", "prflow"), ("mnist", "prflow")]
    assert group.remarks == ()


def test_sizes_of_one_data_set_split_the_group_and_say_so(tmp_path: Path) -> None:
    small = {"train": 10000, "test": 2000, "fingerprint": "sha256:small"}
    (first, second), _ = groups_of(
        tmp_path,
        result("mcflow"),
        result("prflow"),
        result("prflow", "cifar10"),
        result("misgan", problem=small),
    )
    assert members(first) == [("cifar10", "prflow"), ("mnist", "mcflow"), ("mnist", "prflow")]
    assert members(second) == [("mnist", "misgan")]
    assert first.title.endswith("part 1 of 2") and second.title.endswith("part 2 of 2")
    assert first.remarks == second.remarks
    (remark,) = first.remarks
    assert "60,000 training and 10,000 test" in remark and "10,000 training and 2,000 test" in remark


def test_other_pixels_of_the_same_size_split_the_group(tmp_path: Path) -> None:
    groups, _ = groups_of(tmp_path, result("mcflow"), result("prflow", problem={"fingerprint": "sha256:x"}))
    assert len(groups) == 2


def test_other_weights_of_the_judge_split_the_group(tmp_path: Path) -> None:
    other = {"fid": {"value": 2.0, "judge": "lenet", "weights": "sha256:other"}}
    groups, _ = groups_of(tmp_path, result("mcflow"), result("prflow", metrics=other))
    assert len(groups) == 2


def test_a_failed_cell_that_recorded_no_problem_stays_with_the_others(tmp_path: Path) -> None:
    bare = failed("misgan", "it broke")
    del bare["problem"]
    (group,), _ = groups_of(tmp_path, bare, result("prflow"))
    assert members(group) == [("mnist", "misgan"), ("mnist", "prflow")]


def test_a_repeated_cell_counts_once_and_a_complete_one_wins(tmp_path: Path) -> None:
    (group,), warnings = groups_of(tmp_path, result("prflow", rmse=0.15), failed("prflow", "it broke"))
    assert [one.metric("rmse").value for one in group.results] == [0.15]
    assert len(warnings) == 1 and "result.json" in warnings[0]


def test_different_missing_pixels_are_remarked(tmp_path: Path) -> None:
    (group,), _ = groups_of(tmp_path, result("mcflow"), result("prflow", problem={"observed": "sha256:odd"}))
    assert ["MNIST at rate 0.8, seed 0" in remark for remark in group.remarks] == [True]
