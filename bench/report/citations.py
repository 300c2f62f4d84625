"""BibTeX of what stored results used: the methods, then the data sets, then bench itself."""

from __future__ import annotations

import re
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

_ENTRY = re.compile(r"\s*@\s*[A-Za-z]+\s*\{\s*[^\s{}@,\\\"#%'()=]+\s*,")
_DIRECTIVE = re.compile(r"@\s*(preamble|string|comment)", re.IGNORECASE)
_COMMAND = re.compile(r"\\([A-Za-z@]+)")
_NAMES = """
c v u H k r b d t i j l L o O ss ae AE oe OE aa AA dh DH dj DJ ng NG th TH
emph textit textbf textsc texttt textrm textsf textup it bf em sc tt rm url href path
text mathrm mathbf mathit mathcal mathbb ell infty times pm cdot sim le ge leq geq to rightarrow sqrt
alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi
varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega
textendash textemdash textquoteright textquotesingle textasciitilde textregistered texttrademark
copyright S LaTeX TeX relax ldots dots
"""
_COMMANDS = frozenset(_NAMES.split())
"""The commands of letters that a citation may use: accents, letters, type and simple formulas."""


def is_plain(citation: str) -> bool:
    """Whether a text holds BibTeX entries and nothing else, with no command but well-known harmless ones.

    Results come from anyone, and LaTeX does what the entries say: it could read and write the user's files.
    """
    if _DIRECTIVE.search(citation) or "^^" in citation:
        return False
    if not _COMMANDS.issuperset(_COMMAND.findall(citation)):
        return False
    rest = citation
    while rest.strip():
        if _ENTRY.match(rest) is None or (end := _end_of_braces(rest)) is None:
            return False
        rest = rest[end:]
    return True


def _end_of_braces(text: str) -> int | None:
    """Where the first pair of braces ends; None if it does not. BibTeX counts a brace after "\\" too."""
    depth = 0
    for found in re.finditer("[{}]", text):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return found.end()
    return None


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
    """One BibTeX file with each entry once. Its end names what has no citation, or one that is not plain."""
    results = list(results)
    found = citations(results)
    plain = dict.fromkeys(text for text in found.values() if is_plain(text))
    odd = sorted(name for name, text in found.items() if text not in plain)
    told = {result.cell.method for result in results if result.display.citation}
    lines = (
        ("No citation is recorded for", sorted({result.cell.method for result in results} - told)),
        ("Left out, because it holds more than plain BibTeX entries", odd),
    )
    # In BibTeX, "%" starts no comment: an entry begins at each "@".
    remarks = [f"% {what}: {', '.join(names)}.".replace("@", "(at)") for what, names in lines if names]
    return "\n\n".join([*plain, *remarks]) + "\n"
