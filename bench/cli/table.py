"""bench table: Tables 1-3 and the costs, from stored results."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.report.tables import TableSet
    from bench.results import Result

FORMATS = ("csv", "latex", "markdown")


def names(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    """The names in "one,two"; none where nothing is given."""
    return [name.strip() for name in (value or "").split(",") if name.strip()]


@click.command(name="table")
@click.option("--results", type=click.Path(path_type=Path), default="results/runs", show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Where the files go.  [default: RESULTS/tables]"
)
@click.option("--compare", type=click.Choice(["published"]), help="Set the paper's numbers beside ours.")
@click.option("--format", "formats", callback=names, default=",".join(FORMATS), show_default=True)
@click.option("--preset", callback=names, help="Only these presets.")
@click.option("--dataset", "datasets", callback=names, help="Only these data sets.")
@click.option("--methods", callback=names, help="Only these methods.")
def command(
    results: Path,
    output: Path | None,
    compare: str | None,
    formats: list[str],
    preset: list[str],
    datasets: list[str],
    methods: list[str],
) -> int:
    """Print Tables 1-3 and the costs from stored results, and write them as CSV, LaTeX and Markdown.

    Exit status 1: a cell in the tables failed. What was not run is shown, but was not asked for.
    """
    from rich.console import Console

    from bench.names import unknown
    from bench.report.groups import group_results
    from bench.report.published import prflow_paper
    from bench.report.tables import build_tables
    from bench.report.terminal import print_tables
    from bench.results import read_results

    for name in formats:
        if name not in FORMATS:
            raise BenchError(unknown("format", name, FORMATS))
    found, warnings = read_results(results)
    chosen = found
    for kind, wanted in (("preset", preset), ("dataset", datasets), ("method", methods)):
        chosen = _choose(chosen, kind, wanted, results)
    groups, repeated = group_results(chosen)
    for warning in [*warnings, *repeated]:
        click.echo(f"warning: {warning}", err=True)
    if not chosen:
        raise BenchError(
            f"no results below {results}; make some with: bench run --methods prflow --dataset mnist"
        )
    sets = build_tables(groups, prflow_paper(), compare is not None)
    # An output that cannot hold a dash or a plus-minus sign still gets the table.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False, emoji=False, markup=False)
    for one in sets:
        print_tables(one, console)
    for path in _write(sets, output or results / "tables", formats):
        click.echo(f"wrote {path}")
    return 0 if all(result.ok for result in chosen) else 1


def _choose(results: Sequence[Result], kind: str, wanted: list[str], root: Path) -> list[Result]:
    """The results whose preset, data set or method is one of the names; all of them without names."""
    if not wanted:
        return list(results)
    known = sorted({getattr(result.cell, kind) for result in results})
    for name in wanted:
        if results and name not in known:
            raise BenchError(f"no result of {kind} {name!r} below {root}; there is: {', '.join(known)}")
    return [result for result in results if getattr(result.cell, kind) in wanted]


def _write(sets: list[TableSet], folder: Path, formats: list[str]) -> list[Path]:
    """Write the chosen formats; returns the files in the order they were written."""
    from bench.report.latex import latex_document, latex_table
    from bench.report.markdown import markdown_document
    from bench.report.spreadsheets import long_csv, wide_csv

    texts: dict[Path, str] = {}
    for one, name in zip(sets, _folder_names(sets), strict=True):
        for table in one.tables:
            if "csv" in formats:
                texts[folder / name / f"{table.name}.csv"] = wide_csv(table)
            if "latex" in formats:
                texts[folder / name / f"{table.name}.tex"] = latex_table(table, f"{table.name}-{name}")
    if "csv" in formats:
        texts[folder / "long.csv"] = long_csv(one.group for one in sets)
    if "latex" in formats:
        texts[folder / "tables.tex"] = latex_document(sets)
    if "markdown" in formats:
        texts[folder / "tables.md"] = markdown_document(sets)
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchError(
            f"cannot write {error.filename} ({error.strerror}); choose another --output"
        ) from error
    return list(texts)


def _folder_names(sets: Iterable[TableSet]) -> list[str]:
    """A folder's name for every group: mechanism, preset and part, in plain characters; no two alike."""
    names: list[str] = []
    for one in sets:
        group = one.group
        part = f"-part{group.part}" if group.parts > 1 else ""
        plain = (
            re.sub(r"[^A-Za-z0-9]+", "-", f"{group.mechanism}-{group.preset}{part}").strip("-")[:100]
            or "group"
        )
        alike = sum(name == plain or name.startswith(f"{plain}-again") for name in names)
        names.append(f"{plain}-again{alike}" if alike else plain)
    return names
