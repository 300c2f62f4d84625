"""BibTeX of what stored results used: the methods, then the data sets."""

from __future__ import annotations

from collections.abc import Iterable

from bench.results import Result


def citations(results: Iterable[Result]) -> dict[str, str]:
    """The BibTeX of each method and data set by its name, methods first; only what results recorded."""
    results = list(results)
    found: dict[str, str] = {}
    for result in results:
        if result.display.citation:
            found[result.display.method or result.cell.method] = result.display.citation
    for result in results:
        if result.display.dataset_citation:
            found[result.display.dataset or result.cell.dataset] = result.display.dataset_citation
    return found


def bibliography(results: Iterable[Result]) -> str:
    """One BibTeX file, each entry once; methods whose results tell no citation are named at its end."""
    results = list(results)
    entries = dict.fromkeys(citations(results).values())
    told = {result.cell.method for result in results if result.display.citation}
    silent = sorted({result.cell.method for result in results} - told)
    parts = [*entries, *([f"% No citation is recorded for: {', '.join(silent)}."] if silent else [])]
    return "\n\n".join(parts) + "\n"
