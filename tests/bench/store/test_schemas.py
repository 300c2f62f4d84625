"""Files of every schema that was ever written stay readable; the numbers below were read off them by eye.

The files in `schemas/` are results of real runs, named after their schema. They are never changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.store import results
from bench.store.results import read_result

SCHEMAS = Path(__file__).parent / "schemas"


def test_every_schema_has_a_file() -> None:
    there = {int(path.name.partition("-")[0]) for path in SCHEMAS.glob("*.json")}
    assert there == set(range(1, results.SCHEMA + 1))


def test_every_old_schema_has_its_step_to_the_next() -> None:
    assert set(results.UPGRADES) == set(range(1, results.SCHEMA))


def test_schema_1_as_it_was_first_written() -> None:
    read = read_result(SCHEMAS / "1-first.json")
    assert read.ok and read.cell.method == "prflow" and read.cell.dataset == "celeba"
    assert (read.cell.rate, read.cell.seed, read.cell.preset, read.cell.settings) == (0.8, 0, "quick", {})
    assert (read.problem.train, read.problem.test, read.problem.official) == (8000, 2000, False)
    rmse = read.metric("rmse")
    assert (rmse.value, rmse.low, rmse.high) == (
        0.1728797485444052,
        0.17085362969815795,
        0.1747247499140841,
    )
    assert read.metric("fid").value is None and "facenet-pytorch" in read.metric("fid").reason
    assert read.cost.steps == 124 and read.cost.parameters == 19432448
    assert read.method.settings["hidden"] == 256 and len(read.method.settings) == 11
    assert read.method.source == "sha256:b883fd9e37b2e237f1ba7a556473272d5bac87d342b8a9f5d55d2afcf44d94c1"
    assert read.key == "sha256:eafe82ead3f6df1a89724fa2d292fdcc34aa1e48c84539eb2bb36be653a895fe"
    assert read.protocol == 1 and read.asked == {} and read.provenance["threads"] == 1


def test_schema_1_with_a_suite_and_a_reason_for_the_floor() -> None:
    read = read_result(SCHEMAS / "1-suite.json")
    assert read.asked["suite"]["name"] == "quick.yaml" and read.asked["from"]["seeds"] == "suite"
    fid = read.metric("fid")
    assert fid.value == 55.562229110295995 and fid.floor is None
    assert fid.floor_reason.endswith("needs more than 84 training images, not 50")
    assert read.display.method == "Pixel mean" and read.display.baseline


def test_schema_1_of_a_failure() -> None:
    read = read_result(SCHEMAS / "1-failed.json")
    assert (read.status, read.error) == ("failed", "RuntimeError: no luck with <this> & that")
    assert read.cell.settings == {"value": 0.25} and read.metrics == {}
    assert read.traceback.splitlines()[-1] == "RuntimeError: no luck with <this> & that"


def test_schema_2_as_it_was_first_written() -> None:
    read = read_result(SCHEMAS / "2-first.json")
    assert read.ok and read.cell.method == "mean" and read.cell.rate == 0.5
    assert str(read.method.source).startswith("ast:")
    assert read.metric("rmse").value == 0.26796670457787886
    assert (read.problem.train, read.problem.test, read.problem.official) == (50, 40, True)


def test_schema_2_of_a_failure() -> None:
    read = read_result(SCHEMAS / "2-failed.json")
    assert (read.status, read.error) == ("failed", "RuntimeError: no luck with <this> & that")
    assert str(read.method.source).startswith("ast:") and read.method.settings == {"value": 0.25}


def test_a_next_schema_reads_this_one_through_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if schema 3 were out: 2 had called the method's name `title`, 3 calls it `method` again."""

    def to_two(document: dict[str, Any]) -> dict[str, Any]:
        cell = dict(document["cell"])
        return document | {"cell": cell | {"title": cell.pop("method").upper()}}

    def to_three(document: dict[str, Any]) -> dict[str, Any]:
        return document | {"cell": document["cell"] | {"method": document["cell"]["title"] + "!"}}

    monkeypatch.setattr(results, "SCHEMA", 3)
    monkeypatch.setattr(results, "UPGRADES", {1: to_two, 2: to_three})
    assert read_result(SCHEMAS / "1-first.json").cell.method == "PRFLOW!"
    torn = tmp_path / "result.json"
    torn.write_text(json.dumps({"schema": 1, "status": "ok"}))
    with pytest.raises(ValueError, match="lacks a part"):
        read_result(torn)
    torn.write_text(json.dumps({"schema": 4}))
    with pytest.raises(ValueError, match="has schema 4; this version reads schema 3"):
        read_result(torn)


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.name)
def test_no_file_names_a_folder_of_a_machine(path: Path) -> None:
    text = path.read_text()
    assert not any(folder in text for folder in ("/root", "/home", "/tmp", "/work", "/usr"))
