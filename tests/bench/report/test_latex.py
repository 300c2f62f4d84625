"""LaTeX: it compiles, every row is whole, and no name can break it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.groups import group_results
from bench.report.latex import escape, latex_document, latex_table
from bench.report.tables import TableSet, build_tables
from bench.store.results import read_results
from bench.util.text import clean
from tests.bench.report.stored import failed, result, store

NASTY = (
    "".join(chr(code) for code in [*range(33, 127), *range(0xA1, 0x180)])
    + " ± – — × ≤ → α 中 文 😀 ﬁ -- --- '' `` ~"
)


@pytest.fixture
def sets(tmp_path: Path) -> list[TableSet]:
    documents = [
        result(method, dataset, rate, seed)
        for method in ("prflow", "mcflow", NASTY)
        for dataset in ("mnist", "celeba")
        for rate in (0.6, 0.7, 0.8, 0.9)
        for seed in (0, 1)
    ]
    documents += [
        failed("misgan", f"{NASTY} " * 3),
        failed("[x]", "\\end{document} % $ & # _ {"),
        result("[y]*"),
    ]
    found, _ = read_results(store(tmp_path / "stored", *documents_with_safe_folders(documents)))
    groups, _ = group_results(found)
    return build_tables(groups, compare=True)


def documents_with_safe_folders(documents: list[dict[str, object]]) -> list[dict[str, object]]:
    """The nasty name goes into the display name: no file system takes it."""
    for number, document in enumerate(documents):
        cell = document["cell"]
        assert isinstance(cell, dict)
        if cell["method"] not in {"prflow", "mcflow", "misgan"}:
            documents[number] = document | {
                "display": {"method": cell["method"]},
                "cell": cell | {"method": f"plugin-{len(cell['method'])}"},
            }
    return documents


def columns_of(line: str) -> int:
    """How many columns a row fills: ampersands that are not escaped, and \\multicolumn's widths."""
    widths = [int(width) - 1 for width in re.findall(r"\\multicolumn\{(\d+)\}", line)]
    return len(re.findall(r"(?<!\\)&", line)) + 1 + sum(widths)


def test_every_row_fills_every_column_and_environments_close(sets: list[TableSet]) -> None:
    text = latex_document(sets)
    opened: list[str] = []
    rows, columns = 0, 0
    for line in text.splitlines():
        for command, name in re.findall(r"(?<!\\)\\(begin|end)\{(\w+)\}", line):
            if command == "begin":
                opened.append(name)
            else:
                assert opened.pop() == name
        if declared := re.match(r"\\begin\{tabular\}\{(\w+)\}$", line):
            columns = len(declared[1])
        if line.endswith(" \\\\"):
            rows += 1
            assert columns_of(line) == columns, line
    assert not opened
    assert rows > 4 * 2 * 3


def test_a_wide_table_is_split_by_rates(sets: list[TableSet]) -> None:
    rmse = latex_table(sets[0].tables[0], "rmse")
    heads = re.findall(r"\\multicolumn\{3\}\{c\}\{([\d.]+)\}", rmse)
    assert heads == ["0.6", "0.7", "0.8", "0.9"]
    assert rmse.count("\\begin{tabular}") > 1


@given(st.text())
def test_escaped_text_is_ascii_with_balanced_braces_and_no_comment(text: str) -> None:
    escaped = escape(clean(text))
    assert escaped.isascii()
    bare = re.sub(r"\\[\\{}%&#$_]", "", escaped)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[%&#_]", bare)


def test_escaped_names_are_those_that_print() -> None:
    assert escape("50% of a_b & #1 {x} ~ ^ \\") == (
        "50\\% of a\\_\\allowbreak{}b \\& \\#1 \\{x\\} "
        "\\textasciitilde{} \\textasciicircum{} \\textbackslash{}"
    )
    assert escape("Čapek, Ångström, naïve") == '\\v{C}apek, \\r{A}ngstr\\"{o}m, na\\"{\\i}ve'
    assert escape("中") == "{[}U+4E2D{]}"
    assert escape("--set") == "-{}-set"
    assert escape("a---b") == "a-{}-{}-b"
    assert escape("–") == "--"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
class TestCompiles:
    def test_the_document_as_it_is(self, sets: list[TableSet], tmp_path: Path) -> None:
        (tmp_path / "tables.tex").write_text(latex_document(sets), encoding="utf-8")
        assert "Output written on tables.pdf" in compiled(tmp_path, "tables.tex")

    def test_one_table_in_a_paper_of_ones_own(self, sets: list[TableSet], tmp_path: Path) -> None:
        (tmp_path / "rmse.tex").write_text(latex_table(sets[0].tables[0], "rmse"), encoding="utf-8")
        (tmp_path / "paper.tex").write_text(
            "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\\usepackage{graphicx}"
            "\\begin{document}See Table~\\ref{tab:rmse}.\\input{rmse}\\end{document}"
        )
        assert "Output written on paper.pdf" in compiled(tmp_path, "paper.tex")


def compiled(folder: Path, name: str) -> str:
    """What pdflatex says; an error ends it there."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout
