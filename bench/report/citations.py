"""BibTeX of what stored results used: the methods, then the data sets."""

from __future__ import annotations

from collections.abc import Iterable

from bench.report.groups import spelled
from bench.store.results import Result


def citations(results: Iterable[Result]) -> dict[str, str]:
    """The BibTeX of each method and data set by its name, methods first; only what results recorded."""
    results = list(results)
    methods = {one.cell.method: one.display.citation for one in results if one.display.citation}
    datasets = {
        one.cell.dataset: one.display.dataset_citation for one in results if one.display.dataset_citation
    }
    return {spelled("method", name, results): text for name, text in methods.items()} | {
        spelled("dataset", name, results): text for name, text in datasets.items()
    }


def bibliography(results: Iterable[Result]) -> str:
    """One BibTeX file, each entry once; methods whose results tell no citation are named at its end."""
    results = list(results)
    entries = dict.fromkeys(citations(results).values())
    told = {result.cell.method for result in results if result.display.citation}
    silent = sorted({result.cell.method for result in results} - told)
    parts = [*entries, *([f"% No citation is recorded for: {', '.join(silent)}."] if silent else [])]
    return "\n\n".join(parts) + "\n"
