"""All that is stored of one cell, as lines for a terminal."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.store.cell_folder import FAILED_RERUN
from bench.store.results import Metric, Result, read_result
from bench.util.files import open_regular
from bench.util.text import clean, printable

LOG_LINES = 20
LOG_BYTES = 64_000


def result_lines(result: Result) -> Iterator[str]:
    """A result in sections. It is whole but for the losses: of each only the last is shown."""
    yield from _section("status", _status(result))
    yield from _section(
        "cell", result.cell.model_dump() | {"settings": result.settings_label or "as the preset"}
    )
    yield from _section("problem", result.problem.model_dump())
    if result.metrics:
        yield from _section("metrics", {name: _metric(metric) for name, metric in result.metrics.items()})
    if result.ok:
        yield from _section("cost", result.cost.model_dump())
    yield from _section("settings", result.method.settings)
    yield from _section(
        "code", {"method": result.method.source, "protocol": result.protocol, "key": result.key}
    )
    yield from _section("fit", {name: _last(value) for name, value in result.fit.items()})
    yield from _section("asked", result.asked)
    yield from _section("provenance", result.provenance)
    if result.traceback:
        yield "traceback"
        yield from (f"  {printable(line)}" for line in result.traceback.splitlines())


def failed_rerun(folder: Path) -> str | None:
    """Why a run failed after an earlier one had given the cell its number; None if none did."""
    try:
        result = read_result(folder / FAILED_RERUN)
    except ValueError:
        return None
    return clean(result.error or result.status)


def log_lines(folder: Path) -> list[str]:
    """The last lines of the cell's log, safe to print; none if there is no log."""
    path = folder / "log.txt"
    try:
        # Behind a link there could be any file of the user.
        with open_regular(path, follow=False) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES))
            text = file.read(LOG_BYTES).decode(errors="replace")
    except OSError:
        return []
    return [printable(line) for line in text.splitlines()[-LOG_LINES:]]


def file_lines(folder: Path) -> list[str]:
    """The regular files of the cell with their sizes."""
    found = [(path, path.lstat()) for path in sorted(folder.iterdir()) if path.name[0] != "."]
    return [
        f"{status.st_size:>13,}  {clean(path.name)}" for path, status in found if stat.S_ISREG(status.st_mode)
    ]


def _section(title: str, facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts:
        return
    yield title
    for name, value in _flat(facts):
        yield f"  {clean(name):24} {_spelled(value)}"


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as one, with names such as "machine.cpu"."""
    for name, value in facts.items():
        if isinstance(value, Mapping) and value and prefix.count(".") < 3:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _spelled(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e12 else f"{value:.6g}"
    return clean(str(value))


def _status(result: Result) -> dict[str, Any]:
    return {"status": result.status} | ({"error": result.error} if result.error else {})


def _metric(metric: Metric) -> str:
    if metric.value is None:
        return f"none: {metric.reason}" if metric.reason else "none"
    parts = [f"{metric.value:.6g}"]
    if metric.low is not None and metric.high is not None:
        parts.append(f"95 % interval {metric.low:.6g} to {metric.high:.6g}")
    if metric.floor is not None:
        parts.append(f"floor {metric.floor:.6g}")
    elif metric.floor_reason:
        parts.append(f"no floor: {metric.floor_reason}")
    if metric.judge:
        parts.append(f"judged by {metric.judge} {metric.weights[:19]}".strip())
    if metric.reason:
        parts.append(metric.reason)
    return "; ".join(parts)


def _last(value: Any) -> Any:
    """A list shortened to its length and its last entry, such as the losses of the last epoch."""
    return f"{len(value)} entries, the last: {value[-1]}" if isinstance(value, list) and value else value
