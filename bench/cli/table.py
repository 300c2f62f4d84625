"""bench table: Tables 1-3 and the costs, from stored results."""

from __future__ import annotations

import contextlib
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import results_option
from bench.cli.stored import (
    choose_results,
    comma_separated,
    filter_options,
    grouped,
    stored_below,
    write_output,
    writing_output,
)
from bench.errors import BenchError
from bench.util.text import unknown

if TYPE_CHECKING:
    from bench.report.tables import TableSet

FORMATS = ("csv", "latex", "markdown")
WRITTEN = ".written"
"""In the output folder: what was written there, a path a line."""


@click.command(name="table")
@results_option
@click.option(
    "--output", type=click.Path(path_type=Path), help="Where the files go.  [default: RESULTS/tables]"
)
@click.option("--compare", type=click.Choice(["published"]), help="Set the paper's numbers beside ours.")
@click.option("--format", "formats", default=",".join(FORMATS), show_default=True)
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

    BibTeX of the methods and data sets goes beside the LaTeX. Files of an earlier call that this one does
    not write again are removed.

    Exit status 1: a cell in the tables failed. What was not run is shown, but was not asked for.
    """
    from rich.console import Console

    from bench.report.tables import build_tables
    from bench.report.terminal import print_tables

    wanted = comma_separated(formats)
    for name in wanted:
        if name not in FORMATS:
            raise BenchError(unknown("format", name, FORMATS))
    chosen = choose_results(stored_below(results), preset, datasets, methods)
    sets = build_tables(grouped(chosen), compare is not None)
    console = Console(highlight=False, emoji=False, markup=False)
    for one in sets:
        print_tables(one, console)
    for path in _write(sets, output or results / "tables", wanted):
        click.echo(f"wrote {path}")
    return 0 if all(result.ok for result in chosen) else 1


def _write(sets: list[TableSet], folder: Path, formats: list[str]) -> list[Path]:
    """Write the chosen formats; returns the files in the order they were written."""
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
    """Remove what an earlier call noted in `WRITTEN`, and the folders that this leaves empty.

    A group's folder that outlives its group would still give a document its old numbers.
    """
    try:
        noted = (folder / WRITTEN).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for name in noted:
        path = folder / name
        # The note is a file like any other: nothing outside the folder goes, whatever it says.
        outside = Path(name).is_absolute() or ".." in Path(name).parts
        if outside or path in kept or not path.is_file():
            continue
        with writing_output():
            path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()
