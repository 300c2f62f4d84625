"""Stored results as one pandas table, from which reports are grouped and pivoted.

Apart from `bench.store.results`, so that commands which read results without a table do not import pandas.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from bench.store.results import Cost, Result
from bench.util.text import clean

METRICS = ("rmse", "fid", "scc")
"""Every cell has these rows, whether it was scored or not. Metrics of plugins come after them."""
COSTS = tuple(Cost.model_fields)
NUMBERS = ("value", "low", "high", "floor", "accuracy_complete")
ORIGIN = ("commit", "device", "date")
COLUMNS = (
    *("mechanism", "preset", "dataset", "method", "settings", "rate", "seed", "status", "metric"),
    *NUMBERS,
    *("judge", "weights", "reason", "floor_reason"),
    *COSTS,
    *("train", "test", "official", "fingerprint", "observed", "source"),
    *ORIGIN,
    *("clean", "hardware", "file"),
)
TYPES = {
    **dict.fromkeys(("rate", *NUMBERS, *COSTS), "float64"),
    "seed": "int64",
    **dict.fromkeys(("train", "test"), "Int64"),
}
"""The type of each column that is a number; the other columns hold objects."""


def tidy(results: Iterable[Result]) -> pd.DataFrame:
    """One row for each cell and metric, in the order of the results.

    The index is the position of the cell among the results, so the rows of one cell share it. `value`, its
    95 % interval `low` to `high` and `floor` are NaN if there is no number; `reason` then says why.
    `settings` is text, "" for the preset's own. `source` is the hash of the method's code. `clean` is False
    if its checkout had uncommitted changes. `hardware` is what did the computing, "NAME, 2 threads". What
    was not recorded is NaN, None or "".

    Returns:
        A table with the columns `COLUMNS`. It has them also when there are no results.
    """
    results = list(results)
    names = list(dict.fromkeys([*METRICS, *sorted({name for one in results for name in one.metrics})]))
    rows = [(position, row) for position, one in enumerate(results) for row in _rows(one, names)]
    index = pd.Index([position for position, _ in rows], dtype="int64", name="cell")
    return pd.DataFrame([row for _, row in rows], index=index, columns=[*COLUMNS]).astype(TYPES)


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each cell of a `tidy` table, for what does not depend on the metric."""
    return frame[~frame.index.duplicated()]


def _rows(result: Result, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    shared = {
        **result.cell.model_dump(exclude={"settings"}),
        "settings": result.settings_label,
        "status": result.status,
        **result.cost.model_dump(),
        **result.problem.model_dump(),
        "source": result.method.source,
        **{name: clean(str(result.provenance.get(name) or "")) for name in ORIGIN},
        "clean": result.provenance.get("clean") is not False,
        "hardware": _hardware(result),
        "file": str(result.path),
    }
    for name in names:
        yield {**shared, "metric": name, **result.metric(name).model_dump(exclude={"title"})}


def _hardware(result: Result) -> str:
    """What did the computing: the GPU, or the CPU with its threads; "" if that is not recorded."""
    machine, threads = result.provenance.get("machine"), result.provenance.get("threads")
    if not isinstance(machine, dict) or not (name := machine.get("gpu") or machine.get("cpu")):
        return ""
    return clean(f"{name}, {threads} threads" if threads and not machine.get("gpu") else str(name))
