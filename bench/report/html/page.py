"""The page: one HTML file with tables, curves, images, failures, origins, citations and commands."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from bench.report.citations import citations
from bench.report.curves import INTERVALS
from bench.report.groups import Group, short, spelled
from bench.report.html import charts
from bench.report.html.gallery import MOST_SEEDS, galleries
from bench.report.layout import Table, dataset_order, number
from bench.report.looks import looks
from bench.report.metrics import scores_of
from bench.report.tables import build_tables
from bench.store.results import Metric, Result
from bench.util.text import clean

NAMES = ("rmse", "fid", "scc")


@dataclass(frozen=True)
class CellRow:
    """One cell in the list of all cells."""

    result: Result
    root: Path
    dataset: str
    method: str

    @cached_property
    def address(self) -> str:
        """The cell, as one names it to `bench show` and `bench reproduce`."""
        folder = self.result.path.parent
        return str(folder.relative_to(self.root)) if folder.is_relative_to(self.root) else str(folder)

    @property
    def command(self) -> str:
        return clean(f"bench reproduce {shlex.quote(self.address)} --results {shlex.quote(str(self.root))}")

    @property
    def call(self) -> str:
        """The command line that made the result; "" if it is not recorded."""
        return clean(str(self.result.provenance.get("command") or ""))

    @property
    def numbers(self) -> list[tuple[Metric, str]]:
        """RMSE, FID and SCC, each with its text: the number and its interval."""
        return [(metric, _with_interval(metric)) for metric in map(self.result.metric, NAMES)]


def _with_interval(metric: Metric) -> str:
    if metric.value is None:
        return "–"
    interval = (
        "" if metric.low is None or metric.high is None else f" [{number(metric.low)}, {number(metric.high)}]"
    )
    return number(metric.value) + interval


def render(groups: Sequence[Group], root: Path, compare: bool, images: int) -> str:
    """The whole page.

    Args:
        root: the results' folder, for the commands.
        compare: set the paper's numbers beside ours in the tables.
        images: how many test images the gallery has.
    """
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    results = [result for group in groups for result in group.results]
    rows = _cells(groups, root)
    script = _source("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        script=Markup(script),
        # Browsers run this script only. Should a stored name hold a script, it stays text.
        script_hash=Markup(f"'sha256-{digest}'"),
        style=Markup(_source("style.css")),
        sets=_sets(groups, compare),
        cells=rows,
        failures=[row for row in rows if not row.result.ok],
        counts=_counts(results),
        origins=_origins(results),
        problems=_problems(groups),
        citations=citations(results),
        without_citation=_without_citation(results),
        galleries=galleries(groups, images),
        most_seeds=MOST_SEEDS,
        intervals=INTERVALS,
        names=[name.upper() for name in NAMES],
        charts=charts,
        root=clean(str(root)),
    )


def _source(name: str) -> str:
    return (files("bench.report.html") / name).read_text(encoding="utf-8")


def _sets(groups: Sequence[Group], compare: bool) -> list[dict[str, Any]]:
    """Group by group: tables, the winners in each, and charts."""
    found = []
    for tables in build_tables(groups, compare):
        group = tables.group
        look_of = looks(group)
        drawn = [
            one
            for dataset in dataset_order(group)
            for score in scores_of(group)
            if (one := charts.chart(group, dataset, score, look_of))
        ]
        legend = {series.position: series for chart in drawn for series in chart.series}
        found.append(
            {
                "group": group,
                "about": tables.tables[0].about,
                "tables": tables.tables,
                "scores": [score.short for score in scores_of(group)],
                "winners": _winners(tables.tables[:-1]),
                "charts": drawn,
                "legend": [legend[position] for position in sorted(legend)],
            }
        )
    return found


def _winners(tables: Sequence[Table]) -> list[tuple[str, str, list[list[str]]]]:
    """(data set, rate, the best methods by table) for each data set and rate with a best method."""
    best: dict[tuple[str, str], list[list[str]]] = {}
    for at, table in enumerate(tables):
        for row in (row for block in table.blocks for row in block):
            for column, entry in zip(table.columns, row.entries, strict=True):
                found = best.setdefault((row.dataset, column.head), [[] for _ in tables])
                found[at] += [f"{row.label} ({entry.text})"] * entry.best
    return [(dataset, rate, found) for (dataset, rate), found in best.items() if any(found)]


def _cells(groups: Iterable[Group], root: Path) -> list[CellRow]:
    return [
        CellRow(
            result,
            root,
            group.spelled("dataset", result.cell.dataset),
            group.spelled("method", result.cell.method)
            + (f" ({result.settings_label})" if result.settings_label else ""),
        )
        for group in groups
        for result in group.results
    ]


def _counts(results: Sequence[Result]) -> dict[str, int]:
    """The number of cells of each status, complete ones first."""
    statuses = sorted({result.status for result in results}, key=lambda status: (status != "ok", status))
    return {status: sum(result.status == status for result in results) for status in statuses}


def _origins(results: Iterable[Result]) -> list[tuple[dict[str, str], int]]:
    """Each origin of results, without the date, and its number of cells."""
    found: dict[tuple[tuple[str, str], ...], int] = {}
    for result in results:
        told = tuple((name, clean(_told(result.provenance.get(name)))) for name in ORIGIN)
        found[told] = found.get(told, 0) + 1
    return [(dict(told), count) for told, count in found.items()]


ORIGIN = ("bench", "commit", "clean", "python", "packages", "machine", "device", "threads", "precision")


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items() if one)
    return "not recorded" if value is None else str(value)


def _problems(groups: Iterable[Group]) -> list[tuple[str, str, str, str, str]]:
    """(data set, rate and seed, sizes, pixels' hash, masks' hash) of each problem."""
    found = []
    for group in groups:
        for result in group.results:
            cell, problem = result.cell, result.problem
            found.append(
                (
                    group.spelled("dataset", cell.dataset),
                    f"{cell.mechanism} {cell.rate:g}, seed {cell.seed}",
                    f"{problem.train or '?'} / {problem.test or '?'}",
                    short(problem.fingerprint) or "not recorded",
                    short(problem.observed) or "not recorded",
                )
            )
    return list(dict.fromkeys(found))


def _without_citation(results: Iterable[Result]) -> list[str]:
    results = list(results)
    told = {result.cell.method for result in results if result.display.citation}
    silent = {result.cell.method for result in results} - told
    return sorted(spelled("method", name, results) for name in silent)
