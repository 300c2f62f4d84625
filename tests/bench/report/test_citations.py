"""What others' results put into the bibliography."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.plugins.registry import describe_all, find_methods
from bench.report.citations import BENCH, bibliography, is_plain
from bench.store.results import read_results
from tests.bench.report.stored import result, store

GOOD = "@article{good2020,\n  title = {Good {A} and B\\'{e}la \\o{} \\& $\\alpha$},\n  year = {2020}\n}"
HARMFUL = [
    '@preamble{"\\input{/etc/hostname}"}',
    '@PREAMBLE {"x"}',
    f'{GOOD}\n@preamble("x")',
    '@string{a = "b"}',
    "@article{a, title = {\\input{/etc/hostname}}}",
    "@article{a, title = {\\csname input\\endcsname{/etc/hostname}}}",
    "@article{a, title = {^^5cinput{/etc/hostname}}}",
    "@article{a, title = {\\immediate\\write18{rm}}}",
    '@article{a, title = {x} junk @preamble{"x"}}',
    "@article{a, title = {x}} } @article{b, title = {x}}",
    "@article{a, title = {x}",
    "@article{\\input, title = {x}}",
    "some words",
]


def written(folder: Path, citation: str, method: str = "one") -> str:
    store(folder, result(method, display={"method": "One", "citation": citation}))
    return bibliography(read_results(folder)[0])


@pytest.mark.parametrize("citation", HARMFUL)
def test_a_citation_that_does_more_than_cite_is_left_out_by_name(tmp_path: Path, citation: str) -> None:
    remark = "% Left out, because it holds more than plain BibTeX entries: One."
    assert written(tmp_path, citation).split("\n\n") == [BENCH, remark + "\n"]


def test_a_plain_citation_is_written_as_it_is(tmp_path: Path) -> None:
    assert written(tmp_path, GOOD) == f"{GOOD}\n\n{BENCH}\n"


def test_no_name_begins_an_entry(tmp_path: Path) -> None:
    text = written(tmp_path, "", '@preamble{"x"}')
    assert text.count("@") == BENCH.count("@") and "(at)preamble" in text


def test_the_citations_of_our_own_methods_are_plain() -> None:
    told = describe_all(find_methods(()).values()).values()
    found = [one.citation for one in told if not isinstance(one, Exception) and one.citation]
    assert len(found) > 5 and all(is_plain(citation) for citation in found)
