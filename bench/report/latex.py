"""Tables as LaTeX, with booktabs. A file of one table is read with \\input."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby

from bench.report.layout import Column, Entry, Row, Table, pieces
from bench.report.tables import TableSet

NEEDS = "% needs \\usepackage{booktabs} and \\usepackage{graphicx}\n"
# A table with more characters on a line, or more lines, is split. A smaller one is scaled down to the page.
WIDTH, HEIGHT = 130, 55
PREAMBLE = """\\documentclass[a4paper]{article}
\\usepackage[margin=2cm]{geometry}
\\usepackage{booktabs}
\\usepackage{graphicx}
\\begin{document}
"""

_SPECIAL = {
    "\\": "\\textbackslash{}",
    "{": "\\{",
    "}": "\\}",
    "$": "\\$",
    "&": "\\&",
    "#": "\\#",
    "%": "\\%",
    "_": "\\_\\allowbreak{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "''",
    "[": "{[}",
    "]": "{]}",
    "/": "/\\allowbreak{}",
    "±": "$\\pm$",
    "–": "--",
    "—": "---",
    "×": "$\\times$",
    "−": "$-$",
    "≤": "$\\leq$",
    "≥": "$\\geq$",
    "→": "$\\to$",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "…": "\\ldots{}",
    "α": "$\\alpha$",
    "β": "$\\beta$",
    "λ": "$\\lambda$",
    "µ": "$\\mu$",
    "ß": "\\ss{}",
    "ø": "\\o{}",
    "Ø": "\\O{}",
    "ł": "\\l{}",
}
_LIGATURES = {"--", "''", "``", "?`", "!`"}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}


def escape(text: str) -> str:
    """LaTeX that prints one line of text: in ASCII, for every engine and font encoding.

    A character that LaTeX's standard fonts lack is printed as its code: [U+4E2D].
    """
    # LaTeX makes one sign of some pairs, but the name of an option needs its two hyphens.
    pairs = zip(text, (text + " ")[1:], strict=True)
    return "".join(_escape_character(one) + "{}" * (one + other in _LIGATURES) for one, other in pairs)


def _escape_character(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if " " <= char <= "~":
        return char
    parts = unicodedata.normalize("NFD", char)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        base = {"i": "\\i", "j": "\\j"}.get(parts[0], parts[0])
        return f"\\{_ACCENTS[parts[1]]}{{{base}}}"
    return f"{{[}}U+{ord(char):04X}{{]}}"


def latex_table(table: Table, label: str) -> str:
    """The numbers in a `table` environment, or in several if one would overflow a page, and the notes.

    Args:
        label: for \\ref; letters, digits and hyphens.
    """
    title, *rest = (escape(line) for line in (table.title, *table.about, *table.caption))
    caption = [f"\\caption{{{title}. {' '.join(rest)}}}", f"\\label{{tab:{label}}}"]
    parts = _pages(table)
    floats = []
    for position, tabulars in enumerate(parts):
        lines = [
            "\\begin{table}[htbp]",
            "\\centering",
            *(caption if position == 0 else ["\\addtocounter{table}{-1}", "\\caption{(continued)}"]),
            "\\par\\medskip",
            "\n\\par\\medskip\n".join(tabulars),
            *(_notes(table) if position == len(parts) - 1 else []),
            "\\end{table}",
        ]
        floats.append("\n".join(lines) + "\n")
    return NEEDS + "".join(floats)


def _pages(table: Table) -> list[list[str]]:
    """The pieces of a wide table, as many on each page as fit."""
    found = pieces(table, lambda shown: _characters(table, shown) <= WIDTH)
    height = sum(len(block) for block in table.blocks) + 3
    together = max(1, HEIGHT // height)
    tabulars = [_tabular(table, shown) for shown in found]
    return [tabulars[start : start + together] for start in range(0, len(tabulars), together)]


def latex_document(sets: Iterable[TableSet]) -> str:
    """A whole document with every table, complete in itself."""
    tables = [
        latex_table(table, f"{table.name}-{number}")
        for number, one in enumerate(sets, 1)
        for table in one.tables
    ]
    return PREAMBLE + "\n\\clearpage\n".join(tables) + "\\end{document}\n"


def _characters(table: Table, shown: Sequence[int]) -> int:
    """About how wide a piece of the table is; each column has a gap of two characters."""
    rows = [row for block in table.blocks for row in block]
    names = max(len(row.dataset) for row in rows) + max(len(row.label) for row in rows) + 4
    columns = (
        max(len(table.columns[at].sub), *(len(row.entries[at].text) for row in rows)) + 2 for at in shown
    )
    return names + sum(columns)


def _tabular(table: Table, shown: Sequence[int]) -> str:
    rule = f"\\cmidrule(l){{2-{2 + len(shown)}}}\n"
    blocks = [
        (rule if continued else "\\midrule\n") + "".join(_rows(block, continued, table, shown))
        for block, continued in table.sections
    ]
    lines = [
        # A piece that is wider than the text is scaled down; the others keep their size.
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{ll{'r' * len(shown)}}}",
        "\\toprule",
        *_heading([table.columns[at] for at in shown]),
        "".join(blocks) + "\\bottomrule",
        "\\end{tabular}}",
    ]
    return "\n".join(lines)


def _heading(columns: Sequence[Column]) -> list[str]:
    if not any(column.sub for column in columns):
        return [" & ".join(["Data set", "Method", *(escape(column.head) for column in columns)]) + " \\\\"]
    top, rules, start = ["", ""], "", 3
    for head, run in groupby(columns, key=lambda column: column.head):
        width = len(list(run))
        top.append(f"\\multicolumn{{{width}}}{{c}}{{{escape(head)}}}")
        rules += f"\\cmidrule(lr){{{start}-{start + width - 1}}}"
        start += width
    below = ["Data set", "Method", *(escape(column.sub) for column in columns)]
    return [" & ".join(top) + " \\\\", rules, " & ".join(below) + " \\\\"]


def _rows(block: Iterable[Row], continued: bool, table: Table, shown: Sequence[int]) -> list[str]:
    lines = []
    for position, row in enumerate(block):
        first = position == 0 and not continued
        dataset = escape(row.dataset) + _superscript(table.marks(row.dataset_notes)) if first else ""
        method = escape(row.label) + _superscript(table.marks(row.method_notes))
        entries = [_entry(row.entries[at], table) for at in shown]
        lines.append(" & ".join([dataset, method, *entries]) + " \\\\\n")
    return lines


def _entry(entry: Entry, table: Table) -> str:
    text = re.sub(r"^-(?=\d)", "$-$", escape(entry.text))
    return (f"\\textbf{{{text}}}" if entry.best else text) + _superscript(table.marks(entry.notes))


def _superscript(marks: Iterable[int]) -> str:
    listed = ",".join(str(mark) for mark in marks)
    return f"\\textsuperscript{{{listed}}}" if listed else ""


def _notes(table: Table) -> list[str]:
    if not table.notes:
        return []
    lines = [f"\\textsuperscript{{{mark}}} {escape(note)}\\par" for mark, note in enumerate(table.notes, 1)]
    return ["\\par\\smallskip", "{\\footnotesize\\raggedright", *lines, "}"]
