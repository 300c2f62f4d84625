"""Tables as CSV: a wide file for each table, and one long file with every stored number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from bench.report.groups import Group
from bench.report.layout import Column, Entry, Table
from bench.store.frame import COSTS, cells

CELL = ("mechanism", "preset", "part", "dataset", "method", "settings", "rate", "seed", "status")
NUMBER = ("metric", "value", "low", "high", "floor", "accuracy_complete", "judge", "weights", "reason")
PROBLEM = ("train", "test", "official", "fingerprint", "observed", "file")


def wide_csv(table: Table) -> str:
    """The rows of the table, with twelve digits. Means over seeds have `sd` and `seeds` beside them."""
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
    return pd.DataFrame(lines, columns=[*names, "notes"]).to_csv(index=False, lineterminator="\n")


def long_csv(groups: Iterable[Group]) -> str:
    """One row for each cell and number: metrics with their intervals and reasons, and costs."""
    table = pd.concat([_long(group) for group in groups])
    return table[[*CELL, *NUMBER, *PROBLEM]].to_csv(index=False, lineterminator="\n")


def _long(group: Group) -> pd.DataFrame:
    """The group's rows of metrics, and after those of each cell a row for each cost that it recorded."""
    metrics = group.frame.assign(part=group.part)
    costs = cells(metrics)[[*CELL, *PROBLEM, *COSTS]].melt(
        id_vars=[*CELL, *PROBLEM], value_vars=[*COSTS], var_name="metric", ignore_index=False
    )
    return pd.concat([metrics, costs.dropna(subset="value")]).sort_index(kind="stable")


def _fields(column: Column, entry: Entry) -> dict[str, str]:
    name = f"{column.head} {column.sub}".strip()
    fields = {name: _digits(entry.value)}
    if entry.seeds:
        fields |= {f"{name} sd": _digits(entry.spread), f"{name} seeds": str(entry.seeds)}
    return fields


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"
