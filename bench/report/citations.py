"""BibTeX of what stored results used: the methods, then the data sets, then bench itself."""

from __future__ import annotations

from collections.abc import Iterable

from bench import __version__
from bench.report.groups import spelled
from bench.store.results import Result

BENCH = f"""@software{{bench,
  title = {{bench: a benchmark harness for image imputation when most pixels are missing}},
  author = {{{{The bench authors}}}},
  version = {{{__version__}}},
  year = {{2026}}
}}"""
"""The entry of this software. `CITATION.cff` says the same."""


def citations(results: Iterable[Result]) -> dict[str, str]:
    """BibTeX entries by the name of what they cite: methods, then data sets, then bench.

    A method or data set whose results record no citation is left out.
    """
    results = list(results)
    methods = {one.cell.method: one.display.citation for one in results if one.display.citation}
    datasets = {
        one.cell.dataset: one.display.dataset_citation for one in results if one.display.dataset_citation
    }
    return (
        {spelled("method", name, results): text for name, text in methods.items()}
        | {spelled("dataset", name, results): text for name, text in datasets.items()}
        | {"bench, the harness": BENCH}
    )


def bibliography(results: Iterable[Result]) -> str:
    """One BibTeX file with each entry once. A comment at its end names the methods without a citation."""
    results = list(results)
    entries = dict.fromkeys(citations(results).values())
    told = {result.cell.method for result in results if result.display.citation}
    silent = sorted({result.cell.method for result in results} - told)
    parts = [*entries, *([f"% No citation is recorded for: {', '.join(silent)}."] if silent else [])]
    return "\n\n".join(parts) + "\n"
