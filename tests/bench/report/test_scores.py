"""Tables 1-3: layout, means and deviations worked out by hand, what has no number."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from bench.report.latex import latex_table
from bench.report.layout import DASH, Entry, Row, Table, number
from bench.report.markdown import markdown_table
from bench.report.spreadsheets import wide_csv
from tests.bench.report.stored import best, failed, result, tables_of


def row(table: Table, method: str, dataset: str = "MNIST") -> Row:
    (found,) = [
        row for block in table.blocks for row in block if (row.dataset, row.label) == (dataset, method)
    ]
    return found


def texts(table: Table, method: str, dataset: str = "MNIST") -> list[str]:
    return [entry.text for entry in row(table, method, dataset).entries]


def test_layout_is_the_papers(tmp_path: Path) -> None:
    documents = [
        result(method, dataset, rate)
        for method in ("a-baseline", "mcflow", "prflow")
        for dataset in ("a-dataset", "celeba", "mnist")
        for rate in (0.9, 0.6)
    ]
    table = tables_of(tmp_path, *documents)["rmse"]
    assert [column.head for column in table.columns] == ["0.6", "0.9"]
    assert [[one.dataset for one in block] for block in table.blocks] == [
        ["MNIST"] * 3,
        ["CelebA"] * 3,
        ["a-dataset"] * 3,
    ]
    assert [one.method for one in table.blocks[0]] == ["MCFlow", "PRFlow", "a-baseline"]


def test_a_method_is_spelled_as_its_result_says(tmp_path: Path) -> None:
    table = tables_of(tmp_path, result("nearest", display={"method": "Nearest pixel"}))["rmse"]
    assert [one.method for one in table.blocks[0]] == ["Nearest pixel"]


def test_other_settings_have_a_row_of_their_own(tmp_path: Path) -> None:
    other = result("prflow", cell=result("prflow")["cell"] | {"settings": {"alpha": 0.5}}, rmse=0.2)
    table = tables_of(tmp_path, other, result("prflow"))["rmse"]
    assert texts(table, "PRFlow") == ["0.1600"]
    assert texts(table, "PRFlow (alpha=0.5)") == ["0.2000"]


def test_settings_too_long_for_the_table_are_a_note_below_it(tmp_path: Path) -> None:
    long = {"batch_size": 32, "epochs": 4, "imputer_learning_rate": 0.0006, "learning_rate": 0.0003}
    documents = [result("misgan", cell=result("misgan")["cell"] | {"settings": long}), result("prflow")]
    table = tables_of(tmp_path, *documents)["rmse"]
    note = "settings: batch_size=32, epochs=4, imputer_learning_rate=0.0006, learning_rate=0.0003"
    assert row(table, "MisGAN").method_notes == (note,)
    assert note in table.notes
    mark = table.notes.index(note) + 1
    assert f"| MisGAN<sup>{mark}</sup> |" in markdown_table(table)
    assert f" & MisGAN\\textsuperscript{{{mark}}} & " in latex_table(table, "rmse")
    (line,) = (line for line in csv.DictReader(io.StringIO(wide_csv(table))) if line["method"] == "MisGAN")
    assert line["settings"] == note.removeprefix("settings: ")


def test_mean_and_deviation_over_seeds(tmp_path: Path) -> None:
    # Mean 0.39 / 3 = 0.13; squared deviations 0.0009 + 0.0001 + 0.0016 = 0.0026; sqrt(0.0026 / 2) = 0.03606.
    documents = [result("prflow", seed=seed, rmse=rmse) for seed, rmse in enumerate((0.10, 0.12, 0.17))]
    table = tables_of(tmp_path, *documents)["rmse"]
    (entry,) = row(table, "PRFlow").entries
    assert entry.text == "0.1300 ± 0.0361"
    assert entry.value == pytest.approx(0.13)
    assert entry.spread == pytest.approx(0.0013**0.5)
    assert entry.seeds == 3
    assert "Mean ± standard deviation over 3 seeds, out of 0, 1, 2." in table.caption


def test_a_deviation_has_its_means_decimals(tmp_path: Path) -> None:
    alike = [result("a", seed=seed, rmse=rmse) for seed, rmse in enumerate((0.15410, 0.15414))]
    small = [result("b", seed=seed, rmse=rmse) for seed, rmse in enumerate((2e-5, 4e-5))]
    table = tables_of(tmp_path, *alike, *small)["rmse"]
    assert texts(table, "a") == ["0.1541 ± 0.0000"] and texts(table, "b") == ["3.00e-05 ± 1.41e-05"]


def test_unequal_numbers_of_seeds_are_told(tmp_path: Path) -> None:
    documents = [result("mcflow", rmse=0.3), result("prflow", rmse=0.1), result("prflow", seed=4, rmse=0.3)]
    table = tables_of(tmp_path, *documents)["rmse"]
    assert texts(table, "MCFlow") == ["0.3000 (1)"]
    assert texts(table, "PRFlow") == ["0.2000 ± 0.1414 (2)"]
    assert table.caption[0].startswith("Mean ± standard deviation over the seeds that each method has; ")
    assert "in brackets" in table.caption[0]


def test_one_seed_is_a_plain_value(tmp_path: Path) -> None:
    table = tables_of(tmp_path, result("prflow", seed=7))["rmse"]
    assert texts(table, "PRFlow") == ["0.1600"]
    assert "One seed: 7." in table.caption


def test_the_floor_is_a_row_of_table_2_and_never_the_best(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, result("mcflow"), result("prflow"), result("prflow", "cifar10"))
    for dataset in ("MNIST", "CIFAR-10"):
        assert texts(tables["fid"], "complete training images (floor)", dataset) == ["0.0125"]
    assert not any("floor" in method for _, method, _ in best(tables["fid"]))
    assert not any("floor" in one.method for block in tables["rmse"].blocks for one in block)
    other = result("prflow", cell=result("prflow")["cell"] | {"settings": {"alpha": 0.5}})
    alone = tables_of(tmp_path / "alone", other)["fid"]
    assert texts(alone, "complete training images (floor)") == ["0.0125"]


def test_a_dash_carries_its_reason(tmp_path: Path) -> None:
    tables = tables_of(
        tmp_path,
        failed("misgan", "critic diverged", rate=0.6),
        result("mcflow", rate=0.8),
        result("prflow", rate=0.6),
        result("prflow", "celeba", rate=0.6, fid=None, scc=None),
    )
    rmse, scc = tables["rmse"], tables["scc"]
    assert row(rmse, "MisGAN").entries == (
        Entry(DASH, notes=("failed: critic diverged",)),
        Entry(DASH, notes=("not run",)),
    )
    assert rmse.notes == ("failed: critic diverged", "not run")
    assert row(scc, "PRFlow", "CelebA").entries[0].notes == ("FaceNet's weights are not here",)
    assert scc.marks(("FaceNet's weights are not here", "not run")) == (2, 3)


def test_a_failed_seed_is_told_beside_the_mean_of_the_others(tmp_path: Path) -> None:
    table = tables_of(tmp_path, result("prflow"), failed("prflow", "no memory", "out-of-memory", seed=1))[
        "rmse"
    ]
    (entry,) = row(table, "PRFlow").entries
    assert entry == Entry("0.1600", 0.16, None, 1, notes=("seed 1: out-of-memory: no memory",))


def test_own_images_have_no_official_pixels_to_differ_from(tmp_path: Path) -> None:
    own = result("prflow", "discs", problem={"official": False, "fingerprint": "f" * 64})
    assert row(tables_of(tmp_path, own)["rmse"], "PRFlow", "discs").dataset_notes == ()


def test_pixels_that_are_not_the_official_ones_are_marked(tmp_path: Path) -> None:
    tables = tables_of(
        tmp_path,
        result("prflow"),
        result("prflow", "cifar10", problem={"official": False, "fingerprint": "f" * 64}),
    )
    for table in tables.values():
        assert row(table, "PRFlow").dataset_notes == ()
        (note,) = row(table, "PRFlow", "CIFAR-10").dataset_notes
        assert "not the published" in note and "ffff" in note and note in table.notes


def test_caption_names_preset_sizes_and_judge(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, result("prflow"), result("prflow", "celeba"))
    for table in tables.values():
        assert table.about[0] == "Preset quick, mechanism pixel."
        assert "MNIST: 60,000 training and 10,000 test images" in table.about[1]
        assert "CelebA: 9,000 training and 1,000 test images" in table.about[1]
    assert any(
        line.startswith("Judges: MNIST: lenet (weights sha256:01234") for line in tables["fid"].caption
    )


def test_a_weak_judge_shows(tmp_path: Path) -> None:
    scc = {"value": 0.9, "low": 0.8, "high": 1.0, "judge": "lenet", "accuracy_complete": 0.6314}
    metrics = {**result("prflow")["metrics"], "scc": scc}
    tables = tables_of(tmp_path, result("prflow", metrics=metrics))
    told = "right on 63.1% of the complete test images)"
    for name in ("fid", "scc"):
        assert any(line.startswith("Judges: ") and told in line for line in tables[name].caption)
    assert not any("Judges" in line for line in tables["rmse"].caption)


def test_comparison_sets_the_papers_number_and_the_deviation_beside_ours(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, result("prflow", rmse=0.16, scc=0.9), result("mean"), compare=True)
    assert [column.sub for column in tables["rmse"].columns] == ["ours", "paper", "deviation"]
    # The paper: RMSE 0.1490 and SCC 0.9276 on MNIST at rate 0.8.
    assert texts(tables["rmse"], "PRFlow") == ["0.1600", "0.1490", "+0.0110"]
    assert texts(tables["scc"], "PRFlow") == ["0.9000", "0.9276", "-0.0276"]
    assert texts(tables["rmse"], "MCFlow") == [DASH, "0.1581", ""]
    assert row(tables["rmse"], "MCFlow").entries[0].notes == ("not run",)
    assert texts(tables["rmse"], "mean") == ["0.1600", DASH, ""]
    assert row(tables["rmse"], "mean").entries[1].notes == ("the paper has no such number",)


def test_comparison_of_fid_is_in_ratios(tmp_path: Path) -> None:
    table = tables_of(
        tmp_path, result("prflow", fid=2.0), result("mcflow", fid=8.0), result("mean", fid=1.0), compare=True
    )["fid"]
    # The paper: 0.8795 and 3.0663 at rate 0.8, a ratio of 3.486; PBiGAN 0.9927 / 0.8795 = 1.129.
    assert texts(table, "PRFlow") == ["2.0000", "1.00", "1.00"]
    assert texts(table, "MCFlow") == ["8.0000", "4.00", "3.49"]
    assert texts(table, "PBiGAN") == [DASH, "", "1.13"]
    assert texts(table, "mean") == ["1.0000", "0.50", DASH]
    assert texts(table, "complete training images (floor)") == ["0.0125", "", ""]


def test_ratios_are_over_the_methods_that_both_have(tmp_path: Path) -> None:
    table = tables_of(tmp_path, result("mcflow", fid=8.0), compare=True)["fid"]
    assert texts(table, "MCFlow") == ["8.0000", "1.00", "1.00"]


def test_published_rows_only_where_ours_has_the_data_set_and_rate(tmp_path: Path) -> None:
    tables = tables_of(
        tmp_path, result("prflow", rate=0.5), result("prflow", "celeba", rate=0.5), compare=True
    )
    assert [one.method for one in tables["rmse"].blocks[0]] == ["PRFlow"]
    again = tables_of(tmp_path / "again", result("prflow", "celeba", rate=0.6, scc=None), compare=True)
    assert [one.method for one in again["rmse"].blocks[0]] == ["MisGAN", "PBiGAN", "MCFlow", "PRFlow"]
    assert [one.method for one in again["scc"].blocks[0]] == ["PRFlow"]


def test_where_the_paper_has_no_number_no_column_waits_for_one(tmp_path: Path) -> None:
    told = "The paper has no numbers for these data sets and rates."
    own, celeba = result("prflow", "own"), result("prflow", "celeba")
    tables = tables_of(tmp_path / "own", own, compare=True)
    for name in ("rmse", "fid", "scc"):
        assert [column.sub for column in tables[name].columns] == [""] and told in tables[name].caption
    # Each table by itself: of CelebA the paper has no SCC.
    tables = tables_of(tmp_path / "both", own, celeba, compare=True)
    assert len(tables["scc"].columns) == 1 and told in tables["scc"].caption
    assert len(tables["rmse"].columns) == 3 and told not in tables["rmse"].caption


def test_other_settings_have_no_counterpart_in_the_paper(tmp_path: Path) -> None:
    other = result("prflow", cell=result("prflow")["cell"] | {"settings": {"alpha": 0.5}})
    table = tables_of(tmp_path, other, compare=True)["rmse"]
    assert texts(table, "PRFlow (alpha=0.5)") == ["0.1600", DASH, ""]
    assert texts(table, "PRFlow") == [DASH, "0.1490", ""]


def test_another_mechanism_is_not_compared(tmp_path: Path) -> None:
    block = result("prflow", cell=result("prflow")["cell"] | {"mechanism": "block"})
    table = tables_of(tmp_path, block, compare=True)["rmse"]
    assert texts(table, "PRFlow") == ["0.1600"]
    assert any("no numbers to compare" in line for line in table.caption)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.14896, "0.1490"), (0.0, "0.0000"), (12.5, "12.5000"), (2e-5, "2.00e-05"), (1.5e7, "1.50e+07")],
)
def test_numbers_have_four_decimals_where_that_says_something(value: float, text: str) -> None:
    assert number(value) == text


def test_costs_are_means_over_complete_cells(tmp_path: Path) -> None:
    documents = [
        result("prflow", rate=0.6, cost={"fit_seconds": 100.0}),
        result("prflow", rate=0.8, cost={"fit_seconds": 300.0, "peak_memory_mb": None}),
        failed("prflow", "it broke", rate=0.9),
        failed("mcflow", "it broke", rate=0.9),
    ]
    table = tables_of(tmp_path, *documents)["cost"]
    assert texts(table, "PRFlow") == ["200", "667", "512", "1,234,567", "2"]
    assert texts(table, "MCFlow") == [DASH, DASH, DASH, DASH, "0"]
    assert table.notes == ("no complete cell",)
    assert "Measured on A CPU (2 cores), 2 threads." in table.caption


def test_images_per_second_are_all_images_over_all_seconds(tmp_path: Path) -> None:
    # 1541 + 1620 + 664 + 3.8 = 3828.8 ms for four images, one of each cell.
    documents = [
        result("prflow", seed=seed, cost={"impute_ms_per_image": each})
        for seed, each in enumerate((1541.0, 1620.0, 664.0, 3.8))
    ]
    assert texts(tables_of(tmp_path, *documents)["cost"], "PRFlow")[1] == "1.04"


def test_costs_of_several_machines_are_told_apart(tmp_path: Path) -> None:
    gpu = {"machine": {"cpu": "A CPU", "gpu": "A GPU"}, "threads": 16}
    table = tables_of(tmp_path, result("prflow", provenance=gpu), result("mcflow"))["cost"]
    assert row(table, "PRFlow").entries[0].notes == ("measured on A GPU",)
    assert row(table, "MCFlow").entries[0].notes == ("measured on A CPU (2 cores), 2 threads",)


def test_every_row_has_an_entry_a_column(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, result("prflow"), failed("x", "it broke", rate=0.1), compare=True)
    for table in tables.values():
        for one in (one for block in table.blocks for one in block):
            assert len(one.entries) == len(table.columns)


def test_baselines_have_a_block_of_their_own(tmp_path: Path) -> None:
    documents = [
        result(method, dataset, display={"baseline": method != "prflow"}, rmse=rmse)
        for dataset in ("mnist", "cifar10")
        for method, rmse in (("prflow", 0.3), ("a", 0.1), ("b", 0.2))
    ]
    tables = tables_of(tmp_path, *documents, result("a", "celeba", display={"baseline": True}))
    table = tables["rmse"]
    assert [[one.method for one in block] for block in table.blocks] == [["PRFlow"], ["a", "b"]] * 2 + [["a"]]
    assert [continued for _, continued in table.sections] == [False, True, False, True, False]
    # They compete with the others all the same.
    assert best(table) == {("MNIST", "a", "0.8"), ("CIFAR-10", "a", "0.8")}
    floors = [[one.method for one in block if "floor" in one.method] for block in tables["fid"].blocks]
    assert [len(found) for found in floors] == [0, 1, 0, 1, 1]


def test_metrics_of_plugins_have_tables_after_the_papers_three(tmp_path: Path) -> None:
    def with_metrics(method: str, mae: float) -> dict[str, Any]:
        own = {"mae": {"value": mae, "lower_is_better": False, "title": "A title"}, "../odd": {"value": mae}}
        return result(method, metrics=own)

    found = tables_of(tmp_path, with_metrics("prflow", 0.1), with_metrics("mcflow", 0.3), compare=True)
    assert [table.number for table in found.values()] == [1, 2, 3, 4, 5, 6]
    odd, mae, cost = list(found.values())[3:]
    assert mae.title == "A title (higher is better)"
    assert texts(mae, "PRFlow") == ["0.1000"] and best(mae) == {("MNIST", "MCFlow", "0.8")}
    assert "/" not in odd.name and best(odd) == set()
    assert cost.name == "cost"


@pytest.mark.parametrize(
    ("title", "lower", "heading"),
    [
        ("SSIM (higher is better)", False, "SSIM (higher is better)"),
        ("MAE, lower is better", True, "MAE (lower is better)"),
        ("MAE [Lower is Better]", True, "MAE (lower is better)"),
        ("MAE", True, "MAE (lower is better)"),
        ("MAE (lower is better)", None, "MAE (lower is better)"),
        ("(lower is better)", True, "mae (lower is better)"),
        ("Is flower is better", True, "Is flower is better (lower is better)"),
    ],
)
def test_a_heading_says_the_direction_once(
    tmp_path: Path, title: str, lower: bool | None, heading: str
) -> None:
    metric = {"value": 0.5, "title": title} | ({} if lower is None else {"lower_is_better": lower})
    found = tables_of(tmp_path, result("mean", metrics={"mae": metric}))
    assert [*found.values()][3].title == heading


def test_a_plugins_metric_keeps_its_file_whatever_stands_beside_it(tmp_path: Path) -> None:
    def names(folder: str, *metrics: str) -> list[str]:
        document = result("prflow", metrics={name: {"value": 0.1} for name in metrics})
        return list(tables_of(tmp_path / folder, document))[3:-1]

    assert names("one", "mae") == ["metric-mae"]
    alike = names("all", "mae", "MAE", "../mae", "mae-", "…", "a" * 70, "a" * 71)
    assert "metric-mae" in alike and len({name.lower() for name in alike}) == 7
    assert all(name.replace("-", "").isalnum() and name.isascii() for name in alike)
    assert set(names("some", "MAE", "…")) < set(alike)


def test_a_fit_that_a_deadline_ended_has_a_note(tmp_path: Path) -> None:
    early = result("a", fit={"stopped": "deadline reached in epoch 1 of 4"})
    table = tables_of(tmp_path, early, result("b"))["rmse"]
    assert table.notes == ("seed 0: the fit ended early, deadline reached in epoch 1 of 4",)
