"""Which results share a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.plugins.registry import describe, find_methods
from bench.report.citations import citations
from bench.report.groups import Group, group_results, spelled
from bench.report.published import prflow_paper
from bench.report.tables import build_tables
from bench.store.results import read_results
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


def test_other_judges_of_scc_split_the_group_where_there_is_no_fid(tmp_path: Path) -> None:
    def judged(method: str, weights: str) -> dict[str, Any]:
        fid = {"value": None, "reason": "512 images are too few", "judge": "resnet"}
        scc = {"value": 0.9, "judge": "resnet", "weights": weights}
        return result(method, "cifar10", metrics={"fid": fid, "scc": scc})

    silent = result("c", "cifar10", metrics={"fid": {"value": None}, "scc": {"value": None}})
    groups, _ = groups_of(tmp_path, judged("a", "sha256:x"), judged("b", "sha256:y"), silent)
    # A part that does not say contradicts nothing.
    assert [members(group) for group in groups] == [[("cifar10", "a"), ("cifar10", "c")], [("cifar10", "b")]]
    assert "sha256:x" in groups[0].remarks[0] and "sha256:y" in groups[0].remarks[0]


def coded(method: str, source: str | None, **where: Any) -> dict[str, Any]:
    return result(method, **where) | {"method": {"settings": {}, "source": source}}


def test_numbers_from_several_versions_of_the_code_are_remarked(tmp_path: Path) -> None:
    broken = failed("nearest", "it broke", rate=0.9) | {"method": {"source": "sha256:1"}}
    (group,), _ = groups_of(
        tmp_path,
        *(coded("prflow", f"sha256:{version}", rate=0.6 + version / 10) for version in range(3)),
        *(coded("mcflow", f"sha256:{dataset}", dataset=dataset) for dataset in ("mnist", "celeba")),
        # The same code, code that is not recorded, and a version that gave no number.
        *(coded("misgan", "sha256:0", seed=seed) for seed in range(2)),
        coded("pbigan", "sha256:0"),
        coded("pbigan", None, rate=0.9),
        coded("nearest", "sha256:0"),
        broken,
    )
    assert group.remarks == (
        "Numbers from several versions of the method's code: MCFlow, PRFlow. `bench status` names the cells.",
    )


def test_a_changed_checkout_is_remarked(tmp_path: Path) -> None:
    def made(method: str, **provenance: Any) -> dict[str, Any]:
        return result(method, provenance=provenance)

    (group,), _ = groups_of(
        tmp_path,
        made("prflow", clean=False, commit="0123"),
        made("mcflow", clean=True, commit="0123"),
        # Installed: no checkout at all.
        made("misgan", clean=False, commit=None),
        made("pbigan"),
    )
    assert group.remarks == ("Numbers from a checkout with uncommitted changes: PRFlow.",)


def test_those_of_one_name_are_told_apart(tmp_path: Path) -> None:
    def named(method: str, label: str, dataset: str = "mnist") -> dict[str, Any]:
        return result(method, dataset, display={"method": label, "dataset": "Digits"})

    documents = [named("a", "Flow"), named("b", "Flow"), named("c", "Other", "celeba"), named("Other", "")]
    (group,), _ = groups_of(tmp_path, *documents)
    methods = [spelled("method", name, group.results) for name in ("a", "b", "c", "Other")]
    assert methods == ["Flow (a)", "Flow (b)", "Other (c)", "Other"]
    assert spelled("dataset", "celeba", group.results) == "Digits (celeba)"
    tables = build_tables([group], False)[0].tables
    rows = {(row.dataset, row.method) for block in tables[0].blocks for row in block}
    assert rows == {
        ("Digits (mnist)", "Flow (a)"),
        ("Digits (mnist)", "Flow (b)"),
        ("Digits (mnist)", "Other"),
        ("Digits (celeba)", "Other (c)"),
    }


def test_a_spelling_of_the_paper_is_its_owners(tmp_path: Path) -> None:
    def plugin(method: str, label: str) -> dict[str, Any]:
        return result(method, display={"method": label, "citation": f"@misc{{{method}}}"})

    documents = [plugin("mine", "PRFlow"), plugin("U-Net", "")]
    (alone,), _ = groups_of(tmp_path / "alone", *documents)
    (beside,), _ = groups_of(tmp_path / "beside", *documents, plugin("prflow", "PRFlow"))
    for group in (alone, beside):
        names = [spelled("method", name, group.results) for name in ("mine", "prflow", "U-Net")]
        assert names == ["PRFlow (mine)", "PRFlow", "U-Net"]
    table = build_tables([alone], True)[0].tables[0]
    rows = {row.method: row.entries for block in table.blocks for row in block}
    assert [entry.text for entry in rows["PRFlow (mine)"]] == ["0.1600", "–", ""]
    assert [entry.text for entry in rows["PRFlow"]] == ["–", "0.1490", ""]
    assert {"PRFlow (mine)", "PRFlow"} <= citations(beside.results).keys()


def test_the_papers_methods_call_themselves_as_the_paper_does() -> None:
    methods = find_methods()
    for method, label in prflow_paper().methods.items():
        assert describe(methods[method]).display_name == label
