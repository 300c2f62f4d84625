"""The reader of stored results: what it makes of good files, and that no file can stop it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.report.groups import group_results
from bench.report.tables import build_tables
from bench.store.results import NOT_FINITE, read_result, read_results
from bench.util.text import clean
from tests.bench.report.stored import failed, result, store

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_reads_what_the_design_documents(tmp_path: Path) -> None:
    document = json.loads("""
    {"schema": 1, "status": "ok",
     "cell": {"method": "mcflow", "settings": {}, "dataset": "mnist", "mechanism": "pixel", "rate": 0.8,
              "seed": 0, "preset": "quick"},
     "problem": {"fingerprint": "sha256:1", "observed": "sha256:2", "train": 10000, "test": 2000},
     "metrics": {"rmse": {"value": 0.25, "low": 0.2, "high": 0.3}, "fid": {"value": 2, "floor": 0.5},
                 "scc": {"value": null, "reason": "no classes"}},
     "cost": {"fit_seconds": 60.0, "steps": 10, "impute_ms_per_image": 1.0, "peak_memory_mb": 5.0,
              "parameters": 7},
     "provenance": {"commit": "abc"}, "display": {"method": "MCFlow"}}
    """)
    read = read_result(write(tmp_path / "result.json", document))
    assert (read.cell.method, read.cell.dataset, read.cell.rate, read.cell.seed) == (
        "mcflow",
        "mnist",
        0.8,
        0,
    )
    assert (read.problem.train, read.problem.test, read.problem.official) == (10000, 2000, None)
    assert (read.metric("rmse").value, read.metric("rmse").low, read.metric("rmse").high) == (0.25, 0.2, 0.3)
    assert (read.metric("fid").value, read.metric("fid").floor) == (2.0, 0.5)
    assert (read.metric("scc").value, read.metric("scc").reason) == (None, "no classes")
    assert read.metric("lpips").reason == "not recorded"
    assert (read.cost.fit_seconds, read.cost.parameters) == (60.0, 7)
    assert read.display.method == "MCFlow" and not read.display.baseline
    assert read.provenance == {"commit": "abc"}
    assert read.path == tmp_path / "result.json"


def test_a_failed_cell_says_why_for_every_metric(tmp_path: Path) -> None:
    root = store(
        tmp_path, failed("misgan", "loss is not a number", rate=0.6), failed("pbigan", "", "timeout")
    )
    found, _ = read_results(root)
    reasons = {one.cell.method: one.metric("rmse").reason for one in found}
    assert reasons == {"misgan": "failed: loss is not a number", "pbigan": "timeout"}


def test_a_number_that_is_not_finite_is_none(tmp_path: Path) -> None:
    document = result("prflow", rmse=float("nan"), cost={"fit_seconds": float("inf")})
    read = read_result(write(tmp_path / "result.json", document))
    assert (read.metric("rmse").value, read.metric("rmse").reason) == (None, NOT_FINITE)
    assert read.cost.fit_seconds is None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"schema": 1, "status": "ok", "cell": {"met', "not whole JSON"),
        (b"", "not whole JSON"),
        (b"\xff\xfe\x00", "not whole JSON"),
        (b"[" * 100_000, "not whole JSON"),
        (b"9" * 10_000, "not whole JSON"),
        (b"[1, 2]", "no schema number"),
        (b'{"accuracy": 0.9}', "no schema number"),
        (b'{"schema": true}', "no schema number"),
        (b'{"schema": 0}', "schema 0; this version reads schema 2"),
        (b'{"schema": 3, "anything": "else"}', "schema 3; this version reads schema 2"),
        (b'{"schema": 1, "status": "ok"}', "cell"),
        (b'{"schema": 1, "status": "ok", "cell": ["mean"]}', "lacks a part"),
        (b'{"schema": 1, "status": "ok", "cell": {"method": {}}}', "lacks a part"),
    ],
)
def test_a_file_that_is_no_result_is_left_out_with_one_line(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    root = store(tmp_path, result("prflow"))
    stray = root / "stray" / "result.json"
    stray.parent.mkdir()
    stray.write_bytes(content)
    found, warnings = read_results(root)
    assert [one.cell.method for one in found] == ["prflow"]
    assert len(warnings) == 1 and complaint in warnings[0] and str(stray) in warnings[0]
    assert "\n" not in warnings[0]


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("cell", "rate", 1.0),
        ("cell", "rate", "0.8"),
        ("cell", "seed", -1),
        ("cell", "method", ""),
        ("cell", "method", "\x1b[2J"),
        ("problem", "train", 1.5),
        ("problem", "official", "yes"),
        ("metrics", "rmse", 0.1),
        ("cost", "fit_seconds", "long"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, part: str, name: str, value: Any) -> None:
    document = result("prflow")
    document[part] = document[part] | {name: value}
    with pytest.raises(ValueError, match=f"{part}.{name}"):
        read_result(write(tmp_path / "result.json", document))


def test_folders_and_other_files_are_no_matter(tmp_path: Path) -> None:
    (tmp_path / "a" / "result.json").mkdir(parents=True)
    (tmp_path / "results.json").write_text("{}")
    assert read_results(tmp_path) == ([], [])
    assert read_results(tmp_path / "nowhere") == ([], [])


def test_a_link_to_another_disk_is_followed(tmp_path: Path) -> None:
    disk = store(tmp_path / "disk", result("prflow"), result("mcflow"))
    root = store(tmp_path / "runs", result("prflow", "cifar10"))
    (root / "mnist").symlink_to(disk / "mnist")
    found, warnings = read_results(root)
    assert [(one.cell.dataset, one.cell.method) for one in found] == [
        ("cifar10", "prflow"),
        ("mnist", "mcflow"),
        ("mnist", "prflow"),
    ]
    assert not warnings and all(one.path.is_relative_to(root) for one in found)


def test_links_that_lead_round_give_each_result_once(tmp_path: Path) -> None:
    disk = store(tmp_path / "disk", result("mcflow"))
    root = store(tmp_path / "results" / "runs", result("prflow", "cifar10"))
    store(tmp_path / "results" / "measured", result("prflow", "celeba"))
    for link, target in {
        root / "mnist": disk / "mnist",
        root / "again": disk,
        root / "cifar10" / "itself": root / "cifar10",
        root / "above": root.parent,
        disk / "mnist" / "back": disk / "mnist",
        disk / "mnist" / "home": root,
        root / "nowhere": tmp_path / "nowhere",
        root / "own": root / "own",
    }.items():
        link.symlink_to(target)
    found, warnings = read_results(root)
    assert [one.cell.dataset for one in found] == ["mnist", "cifar10"] and not warnings
    assert found[0].path.relative_to(root).parts[0] == "again"


def test_what_comes_from_a_file_is_safe_to_print(tmp_path: Path) -> None:
    document = failed("\x1b[31mred\x1b[0m", "first\nsecond\x07\x1b]0;title\x07 third\u202e")
    read = read_result(write(tmp_path / "result.json", document))
    assert read.cell.method == "red"
    assert read.error == "first second third"


@given(st.text())
def test_clean_text_is_one_printable_line(text: str) -> None:
    cleaned = clean(text)
    assert cleaned.isprintable()
    assert clean(cleaned) == cleaned


@given(JSON)
@settings(max_examples=100)
def test_any_json_is_a_result_or_one_line(document: Any) -> None:
    check_survives(document)


@given(st.data())
@settings(max_examples=150)
def test_any_part_of_a_result_can_be_anything(data: st.DataObject) -> None:
    document = result("prflow", error="", display={"method": "PRFlow"})
    place: Any = document
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[name], dict) or not place[name] or data.draw(st.booleans()):
            break
        place = place[name]
    place[name] = data.draw(JSON)
    check_survives(document)


def check_survives(document: Any) -> None:
    """The document is refused in one line, or the tables can be made of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "result.json", document)
        try:
            read = read_result(path)
        except ValueError as error:
            assert "\n" not in str(error)
            return
    groups, _ = group_results([read])
    (tables,) = build_tables(groups, compare=True)
    assert len(tables.tables) == 4 + len(read.metrics.keys() - {"rmse", "fid", "scc"})
