"""Tables as Markdown, for a README."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bench.report.layout import Entry, Table
from bench.report.tables import TableSet


def escape(text: str) -> str:
    """One line of text, escaped so that Markdown and HTML show it as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~!])", r"\\\1", text)


def markdown_document(sets: Iterable[TableSet]) -> str:
    """Group by group, every table under its title, with the caption and the notes below it."""
    parts = []
    for one in sets:
        parts += [f"## {escape(one.group.title)}", escape(" ".join(one.tables[0].about[1:]))]
        parts += [markdown_table(table) for table in one.tables]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    heads = ["Data set", "Method", *(f"{column.head} {column.sub}".strip() for column in table.columns)]
    lines = [
        f"**{escape(table.heading)}**",
        "",
        _line(escape(head) for head in heads),
        _line(["---", "---", *["---:"] * len(table.columns)]),
    ]
    for block, continued in table.sections:
        if continued:
            lines.append(_line(["", "*Baselines*", *("" for _ in table.columns)]))
        for position, row in enumerate(block):
            first = position == 0 and not continued
            dataset = escape(row.dataset) + _superscript(table.marks(row.dataset_notes)) if first else ""
            method = escape(row.label) + _superscript(table.marks(row.method_notes))
            lines.append(_line([dataset, method, *(_entry(entry, table) for entry in row.entries)]))
    lines += ["", escape(" ".join(table.caption))]
    for mark, note in enumerate(table.notes, 1):
        lines += ["", f"{_superscript([mark])} {escape(note)}"]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _entry(entry: Entry, table: Table) -> str:
    text = escape(entry.text)
    return (f"**{text}**" if entry.best else text) + _superscript(table.marks(entry.notes))


def _superscript(marks: Iterable[int]) -> str:
    listed = ",".join(str(mark) for mark in marks)
    return f"<sup>{listed}</sup>" if listed else ""
