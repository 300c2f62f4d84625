"""Tables as CSV: one wide file a table, and one long file with every stored number."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from bench.report.groups import Group
from bench.report.layout import Column, Entry, Table
from bench.store.results import Cost, Result

CELL = ("mechanism", "preset", "part", "dataset", "method", "settings", "rate", "seed", "status")
NUMBER = ("metric", "value", "low", "high", "floor", "accuracy_complete", "judge", "weights", "reason")
PROBLEM = ("train", "test", "official", "fingerprint", "observed", "file")


def wide_csv(table: Table) -> str:
    """One row a method, as in the table; twelve digits, with `sd` and `seeds` beside means over seeds."""
    rows = [row for block in table.blocks for row in block]
    names = ["dataset", "method", "settings"]
    for position, column in enumerate(table.columns):
        seeded = any(row.entries[position].seeds for row in rows)
        names += _fields(column, Entry(seeds=int(seeded)))
    lines = []
    for row in rows:
        line: dict[str, Any] = {"dataset": row.dataset, "method": row.method, "settings": row.settings}
        for column, entry in zip(table.columns, row.entries, strict=True):
            line |= _fields(column, entry)
        notes = [*row.dataset_notes, *(note for entry in row.entries for note in entry.notes)]
        lines.append(line | {"notes": "; ".join(dict.fromkeys(notes))})
    return _csv([*names, "notes"], lines)


def long_csv(groups: Iterable[Group]) -> str:
    """One row a cell and number: metrics with their intervals and reasons, and costs."""
    lines = [line for group in groups for result in group.results for line in _long(group, result)]
    return _csv([*CELL, *NUMBER, *PROBLEM], lines)


def _fields(column: Column, entry: Entry) -> dict[str, str]:
    name = f"{column.head} {column.sub}".strip()
    fields = {name: _digits(entry.value)}
    if entry.seeds:
        fields |= {f"{name} sd": _digits(entry.spread), f"{name} seeds": str(entry.seeds)}
    return fields


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"


def _long(group: Group, result: Result) -> Iterable[Mapping[str, Any]]:
    shared = {
        "mechanism": group.mechanism,
        "preset": group.preset,
        "part": group.part,
        "dataset": result.cell.dataset,
        "method": result.cell.method,
        "settings": result.settings_label,
        "rate": result.cell.rate,
        "seed": result.cell.seed,
        "status": result.status,
        **result.problem.model_dump(),
        "file": str(result.path),
    }
    for name in dict.fromkeys(["rmse", "fid", "scc", *result.metrics]):
        yield shared | {"metric": name} | result.metric(name).model_dump(include=set(NUMBER))
    for name in Cost.model_fields:
        value = getattr(result.cost, name)
        if value is not None:
            yield shared | {"metric": name, "value": value}


def _csv(names: Iterable[str], lines: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
