"""BibTeX of the methods and data sets that stored results used."""

from __future__ import annotations

from collections.abc import Iterable

from bench.report.groups import spelled
from bench.store.results import Result


def citations(results: Iterable[Result]) -> dict[str, str]:
    """The BibTeX of each method and data set that recorded one, by its spelling; methods come first."""
    results = list(results)
    methods = {one.cell.method: one.display.citation for one in results if one.display.citation}
    datasets = {
        one.cell.dataset: one.display.dataset_citation for one in results if one.display.dataset_citation
    }
    return {spelled("method", name, results): text for name, text in methods.items()} | {
        spelled("dataset", name, results): text for name, text in datasets.items()
    }


def bibliography(results: Iterable[Result]) -> str:
    """One BibTeX file with each entry once. Methods without a recorded citation are named at its end."""
    results = list(results)
    entries = dict.fromkeys(citations(results).values())
    told = {result.cell.method for result in results if result.display.citation}
    silent = sorted({result.cell.method for result in results} - told)
    parts = [*entries, *([f"% No citation is recorded for: {', '.join(silent)}."] if silent else [])]
    return "\n\n".join(parts) + "\n"
