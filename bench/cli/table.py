"""`bench table`: Tables 1-3 and the costs, from stored results."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import GivenPath, results_option
from bench.cli.stored import (
    choose_results,
    comma_separated,
    filter_options,
    grouped,
    known_names,
    say_rekeyed,
    stored_below,
    write_output,
    writing_output,
)
from bench.util.files import read_regular

if TYPE_CHECKING:
    from bench.report.tables import TableSet

FORMATS = ("csv", "latex", "markdown")
WRITTEN = ".written"
"""A file in the output folder that lists the files written there, one path a line."""
LARGEST_LIST = 10_000_000


@click.command(name="table")
@results_option
@click.option("--output", type=GivenPath(), help="Folder for the files.  [default: RESULTS/tables]")
@click.option("--compare", type=click.Choice(["published"]), help="Show the paper's numbers beside ours.")
@click.option(
    "--format",
    "formats",
    default=",".join(FORMATS),
    show_default=True,
    help="Which files, with commas between.",
)
@filter_options
def command(
    results: Path,
    output: Path | None,
    compare: str | None,
    formats: str,
    preset: str | None,
    datasets: str | None,
    methods: str | None,
) -> int:
    """Print Tables 1-3 and the costs from stored results, and write them as CSV, LaTeX and Markdown.

    With the LaTeX comes BibTeX of the methods and data sets. Files that an earlier call wrote and this one
    does not write are removed.

    Exit status 1: a cell in the tables failed. Cells that were never run do not count as failed.
    """
    from rich.console import Console

    from bench.report.tables import build_tables
    from bench.report.terminal import print_tables

    wanted = known_names("format", comma_separated(formats), FORMATS)
    chosen = choose_results(stored_below(results), preset, datasets, methods)
    sets = build_tables(grouped(chosen), compare is not None)
    # If this is left open, FORCE_COLOR puts sequences for a terminal into files.
    console = Console(force_terminal=sys.stdout.isatty(), highlight=False, emoji=False, markup=False)
    for one in sets:
        print_tables(one, console)
    say_rekeyed(result for one in sets for result in one.group.results)
    for path in _write(sets, output or results / "tables", wanted):
        click.echo(f"wrote {path}")
    return 0 if all(result.ok for result in chosen) else 1


def _write(sets: list[TableSet], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write the chosen formats. Returns the files in the order in which they were written."""
    from bench.report.citations import bibliography
    from bench.report.groups import folder_names
    from bench.report.latex import latex_document, latex_table
    from bench.report.markdown import markdown_document
    from bench.report.spreadsheets import long_csv, wide_csv

    texts: dict[Path, str] = {}
    for one, name in zip(sets, folder_names(one.group for one in sets), strict=True):
        for table in one.tables:
            if "csv" in formats:
                texts[folder / name / f"{table.name}.csv"] = wide_csv(table)
            if "latex" in formats:
                texts[folder / name / f"{table.name}.tex"] = latex_table(table, f"{table.name}-{name}")
    if "csv" in formats:
        texts[folder / "long.csv"] = long_csv(one.group for one in sets)
    if "latex" in formats:
        texts[folder / "tables.tex"] = latex_document(sets)
        texts[folder / "citations.bib"] = bibliography(result for one in sets for result in one.group.results)
    if "markdown" in formats:
        texts[folder / "tables.md"] = markdown_document(sets)
    _remove_earlier(folder, texts)
    write_output(folder / WRITTEN, "".join(f"{path.relative_to(folder).as_posix()}\n" for path in texts))
    for path, text in texts.items():
        write_output(path, text)
    return list(texts)


def _remove_earlier(folder: Path, kept: Container[Path]) -> None:
    """Remove the files that an earlier call listed in `WRITTEN`, and the folders that become empty.

    If the folder of a group stayed when the group is gone, a document would still show its old numbers.
    """
    try:
        noted = read_regular(folder / WRITTEN, LARGEST_LIST).decode(errors="replace").splitlines()
    except OSError:
        return
    for name in noted:
        path = folder / name
        # Anyone can write the list, so nothing outside the folder is removed, whatever the list says.
        outside = Path(name).is_absolute() or ".." in Path(name).parts
        if outside or path in kept or not path.is_file():
            continue
        with writing_output():
            path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()
