"""Tables as text, for a terminal or for a file that the output is sent to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.report.layout import Entry, Table, pieces
from bench.report.tables import TableSet


def print_tables(tables: TableSet, console: Console) -> None:
    """Print the tables of one group, with captions and notes; nothing is ever cut off.

    A table that is too wide for the terminal is printed in pieces, some rates at a time. If the output is not
    a terminal, the table stays whole, and the best numbers have an asterisk instead of bold type.
    """
    for line in tables.tables[0].about:
        console.print(Text(line), soft_wrap=True)
    for table in tables.tables:
        console.print()
        console.print(Text(table.heading, style="bold"), soft_wrap=True)
        for position, piece in enumerate(_pieces(table, console)):
            if position:
                console.print()
            _print_whole(_grid(table, piece, console.is_terminal), console)
        starred = any(entry.best for block in table.blocks for row in block for entry in row.entries)
        for line in [*table.caption, *["* stands for bold."] * (starred and not console.is_terminal)]:
            console.print(Text(line, style="dim"), soft_wrap=True)
        for mark, note in enumerate(table.notes, 1):
            console.print(Text(f"[{mark}] {note}"), soft_wrap=True)
    console.print()


def _pieces(table: Table, console: Console) -> list[list[int]]:
    if not console.is_terminal:
        return [list(range(len(table.columns)))]
    return pieces(table, lambda shown: _width(_grid(table, shown, terminal=True), console) <= console.width)


def _width(grid: RichTable, console: Console) -> int:
    """The width of the whole grid, in characters."""
    return console.measure(grid, options=console.options.update(width=100_000)).maximum


def _print_whole(grid: RichTable, console: Console) -> None:
    """Print a grid at its full width, even past the edge of a narrow terminal."""
    before = console.width
    console.width = max(before, _width(grid, console))
    console.print(grid)
    console.width = before


def _grid(table: Table, shown: Sequence[int], terminal: bool) -> RichTable:
    """The columns at some positions."""
    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    grid.add_column(Text("Data set"), no_wrap=True)
    grid.add_column(Text("Method"), no_wrap=True)
    for position in shown:
        column = table.columns[position]
        head = f"{column.head}\n{column.sub}" if column.sub else column.head
        grid.add_column(Text(head, justify="right"), justify="right", no_wrap=True)
    for block, continued in table.sections:
        for position, row in enumerate(block):
            first = position == 0 and not continued
            dataset = row.dataset + _marks(table.marks(row.dataset_notes)) if first else ""
            entries = [_entry(row.entries[place], table, terminal) for place in shown]
            grid.add_row(
                Text(dataset),
                Text(row.label + _marks(table.marks(row.method_notes))),
                *entries,
                end_section=row is block[-1],
            )
    return grid


def _entry(entry: Entry, table: Table, terminal: bool) -> Text:
    text = Text(entry.text, style="bold" if entry.best else "")
    if entry.best and not terminal:
        text.append("*")
    return text.append(_marks(table.marks(entry.notes)), style="not bold dim")


def _marks(marks: Iterable[int]) -> str:
    listed = ",".join(str(mark) for mark in marks)
    return f" [{listed}]" if listed else ""
