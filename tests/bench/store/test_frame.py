"""Stored results as one table: every cell and metric once, with what the result holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.store.frame import COLUMNS, COSTS, METRICS, cells, tidy
from bench.store.results import read_results
from tests.bench.report.stored import failed, result, store

MEASURED = Path(__file__).parents[3] / "results/measured"


def frame_of(root: Path, *documents: dict[str, Any]) -> pd.DataFrame:
    found, _ = read_results(store(root, *documents))
    return tidy(found)


def test_every_cell_and_metric_has_one_row(tmp_path: Path) -> None:
    own = {"edges": {"value": 3.5, "lower_is_better": True}}
    frame = frame_of(tmp_path, result("a"), result("b", metrics=own), failed("c", "it broke"))
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame["method"]) == [name for name in "abc" for _ in range(4)]
    assert list(frame["metric"]) == [*METRICS, "edges"] * 3
    assert list(cells(frame)["method"]) == ["a", "b", "c"]
    values = frame.pivot(index="method", columns="metric", values="value")
    assert values.loc["b"].to_dict() == {"rmse": 0.16, "fid": 1.0, "scc": 0.9, "edges": 3.5}
    assert values.loc["c"].isna().all()
    assert values.isna()["edges"].to_dict() == {"a": True, "b": False, "c": True}


def test_a_row_holds_interval_cost_problem_and_origin(tmp_path: Path) -> None:
    origin = {"machine": {"cpu": "A CPU", "gpu": None}, "threads": 2, "commit": "0123", "clean": False}
    row = frame_of(tmp_path, result("a", rate=0.7, seed=3, provenance=origin)).iloc[0]
    assert (row["dataset"], row["rate"], row["seed"], row["settings"]) == ("mnist", 0.7, 3, "")
    assert (row["value"], row["low"], row["high"]) == (0.16, pytest.approx(0.15), pytest.approx(0.17))
    assert [row[name] for name in COSTS] == [120.0, 9380.0, 1.5, 512.0, 1234567.0]
    assert (row["train"], row["test"], row["official"]) == (60000, 10000, True)
    assert (row["commit"], row["clean"], row["hardware"]) == ("0123", False, "A CPU, 2 threads")


def test_what_is_not_recorded_is_missing(tmp_path: Path) -> None:
    bare = failed("a", "it broke", provenance={"commit": None, "machine": "?", "clean": None})
    del bare["problem"], bare["cost"]
    row = frame_of(tmp_path, bare).iloc[0]
    assert row["reason"] == "failed: it broke"
    assert all(pd.isna(row[name]) for name in (*COSTS, "value", "low", "train", "test", "official"))
    assert (row["commit"], row["clean"], row["hardware"]) == ("", True, "")


def test_no_results_give_an_empty_table_with_all_columns() -> None:
    frame = tidy([])
    assert frame.empty and list(frame.columns) == list(COLUMNS)
    assert frame.groupby(["dataset", "rate"])["value"].mean().empty


def test_the_measured_results_are_in_it_as_they_are_stored() -> None:
    found, _ = read_results(MEASURED)
    frame = tidy(found)
    assert len(cells(frame)) == len(found) > 100
    for position, one in enumerate(found):
        rows = frame.loc[position].set_index("metric")
        assert set(rows["file"]) == {str(one.path)}
        for name, metric in one.metrics.items():
            for column in ("value", "low", "high", "floor"):
                there, stored = rows[column].to_dict()[name], getattr(metric, column)
                assert there == stored or (pd.isna(there) and stored is None)
