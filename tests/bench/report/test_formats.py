"""Tables in the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.report import markdown
from bench.report.groups import group_results
from bench.report.spreadsheets import long_csv, wide_csv
from bench.report.tables import TableSet, build_tables
from bench.report.terminal import print_tables
from bench.store.results import read_results
from bench.util.text import clean
from tests.bench.report.stored import failed, result, store


def set_of(root: Path, *documents: dict[str, Any], compare: bool = False) -> TableSet:
    found, _ = read_results(store(root, *documents))
    groups, _ = group_results(found)
    (tables,) = build_tables(groups, compare)
    return tables


def both_methods() -> list[dict[str, Any]]:
    places = [(rate, seed) for rate in (0.6, 0.7, 0.8, 0.9) for seed in (0, 2)]
    return [
        *(result("prflow", rate=rate, seed=seed, rmse=rate / 5 + seed / 100) for rate, seed in places),
        *(result("mcflow", rate=rate, seed=seed, rmse=0.25) for rate, seed in places),
    ]


@pytest.fixture
def tables(tmp_path: Path) -> TableSet:
    broken = failed("misgan", "critic | diverged", rate=0.6)
    return set_of(tmp_path, *both_methods(), broken, compare=True)


@pytest.fixture
def whole(tmp_path: Path) -> TableSet:
    """Without the failed cell, which leaves nothing bold."""
    return set_of(tmp_path / "whole", *both_methods(), compare=True)


def printed(tables: TableSet, terminal: bool, width: int = 80) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=terminal, highlight=False, emoji=False, markup=False
    )
    print_tables(tables, console)
    return file.getvalue()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("width", [20, 80, 300])
def test_nothing_is_ever_cut_off(tables: TableSet, terminal: bool, width: int) -> None:
    text = plain(printed(tables, terminal, width))
    assert "…" not in text
    for table in tables.tables:
        shown = [entry.text for block in table.blocks for row in block for entry in row.entries]
        shown += [row.label for block in table.blocks for row in block] + [*table.notes, *table.caption]
        assert all(one in text for one in shown)


def test_a_terminal_gets_pieces_that_fit(tables: TableSet) -> None:
    grid = [line for line in plain(printed(tables, True)).splitlines() if re.match("MNIST|   +|───", line)]
    assert len(grid) > 20
    assert max(len(line) for line in grid) <= 80


def test_elsewhere_a_table_is_one_piece_without_escape_sequences(tables: TableSet) -> None:
    text = printed(tables, False)
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if re.match(r"(MNIST)?\s+PRFlow ", line)]
    # Four rates of three columns in each of Tables 1-3; the costs.
    assert len(rows) == 4
    assert len(re.findall(r"\d\.\d{4} ± ", rows[0])) == 4


def test_the_best_is_bold_or_carries_an_asterisk(whole: TableSet) -> None:
    # Rate 0.6: 0.12 and 0.14, mean 0.13, deviation 0.0141.
    assert re.search(r"\x1b\[1m *0\.1300 ± 0\.0141\x1b\[0m", printed(whole, True))
    assert not re.search(r"\x1b\[1m *0\.2500 ± 0\.0000\x1b\[0m +0\.1126", printed(whole, True))
    assert "0.1300 ± 0.0141*" in printed(whole, False)
    assert "0.2500 ± 0.0000*" not in printed(whole, False)
    assert "* stands for bold." in printed(whole, False)
    assert "* stands for bold." not in printed(whole, True)


def test_reasons_stand_below_with_the_numbers_of_their_dashes(tables: TableSet) -> None:
    text = printed(tables, False)
    number = re.search(r"MisGAN +– \[(\d)\]", text)
    assert number and f"[{number[1]}] failed: critic | diverged" in text


def test_names_are_not_taken_for_markup(tmp_path: Path) -> None:
    text = printed(set_of(tmp_path, result("x", display={"method": "[bold]x[/bold] :smile:"})), True)
    assert "[bold]x[/bold] :smile:" in text


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_rows_have_a_cell_a_column(tables: TableSet) -> None:
    for table in tables.tables:
        lines = [line for line in markdown.markdown_table(table).splitlines() if line.startswith("|")]
        assert len(lines) == 2 + sum(len(block) for block in table.blocks)
        assert {len(cells(line)) for line in lines} == {2 + len(table.columns)}


def test_markdown_has_bold_notes_and_escaped_names(tables: TableSet, whole: TableSet, tmp_path: Path) -> None:
    assert re.search(r"\*\*0\.1300 ± 0\.0141\*\*", markdown.markdown_document([whole]))
    text = markdown.markdown_document([tables])
    assert "failed: critic \\| diverged" in text
    odd = markdown.markdown_document(
        [set_of(tmp_path / "odd", result("x", display={"method": "a|b_<i>*c*"}))]
    )
    assert "a\\|b\\_&lt;i&gt;\\*c\\*" in odd


@given(st.text())
def test_escaped_markdown_has_no_bare_pipe_or_tag(text: str) -> None:
    escaped = markdown.escape(clean(text))
    assert not re.search(r"[<>\n]|(?<!\\)(\\\\)*\|", escaped)


def test_wide_csv_holds_the_table(tables: TableSet) -> None:
    rows = list(csv.DictReader(io.StringIO(wide_csv(tables.tables[0]))))
    (prflow,) = [row for row in rows if row["method"] == "PRFlow"]
    assert float(prflow["0.6 ours"]) == pytest.approx(0.13)
    assert float(prflow["0.6 ours sd"]) == pytest.approx(0.02 / 2**0.5)
    assert (prflow["0.6 ours seeds"], prflow["0.6 paper"], prflow["notes"]) == ("2", "0.1093", "")
    assert float(prflow["0.6 deviation"]) == pytest.approx(0.13 - 0.1093)
    (misgan,) = [row for row in rows if row["method"] == "MisGAN"]
    assert (misgan["0.6 ours"], misgan["0.6 paper"]) == ("", "0.1329")
    assert misgan["notes"] == "failed: critic | diverged; not run"


def test_long_csv_holds_every_stored_number(tables: TableSet) -> None:
    rows = list(csv.DictReader(io.StringIO(long_csv([tables.group]))))
    (rmse,) = [
        row
        for row in rows
        if (row["method"], row["metric"], row["rate"], row["seed"]) == ("prflow", "rmse", "0.6", "2")
    ]
    assert [float(rmse[name]) for name in ("value", "low", "high")] == pytest.approx([0.14, 0.13, 0.15])
    assert (rmse["preset"], rmse["mechanism"], rmse["train"], rmse["official"]) == (
        "quick",
        "pixel",
        "60000",
        "True",
    )
    (fid,) = [row for row in rows if (row["method"], row["metric"]) == ("misgan", "fid")]
    assert (fid["value"], fid["status"], fid["reason"]) == ("", "failed", "failed: critic | diverged")
    times = [row["value"] for row in rows if row["metric"] == "fit_seconds"]
    assert times == ["120.0"] * 16
