"""What each method cost: time, memory and parameters."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench.report.groups import Group
from bench.report.layout import Column, Entry, Line, Row, Table, about, lines_of
from bench.report.published import Published
from bench.store.results import Result
from bench.util.text import clean

COSTS = {
    "fit_seconds": "fit (s)",
    "images_per_second": "imputed (images/s)",
    "peak_memory_mb": "peak memory (MB)",
    "parameters": "parameters",
}


def cost_table(group: Group, paper: Published, number: int) -> Table:
    """The mean cost of every row over its complete cells, all rates and seeds; `number` is the table's."""
    blocks = lines_of(group, paper)
    machines = {machine for result in group.results if result.ok and (machine := _machine(result))}
    rows = tuple(
        tuple(_row(line, group, name_machines=len(machines) > 1) for line in lines) for lines in blocks
    )
    columns = (*(Column(title) for title in COSTS.values()), Column("cells"))
    measured = [f"Measured on {machine}." for machine in machines] if len(machines) == 1 else []
    means = "Means over the complete cells: all rates and seeds; imputed: all images over all seconds."
    caption = (means, *measured)
    return Table(number, "cost", "Cost", columns, rows, about(group, paper), caption)


def _row(line: Line, group: Group, name_machines: bool) -> Row:
    """One row; on several machines, a note to its first number says which."""
    done = [result for result in line.results if result.ok]
    entries = [_entry(done, name) for name in COSTS]
    if name_machines and done:
        machines = sorted({_machine(result) or "an unrecorded machine" for result in done})
        note = f"measured on {' and '.join(machines)}"
        entries[0] = replace(entries[0], notes=(*entries[0].notes, note))
    return line.row(group, [*entries, Entry(str(len(done)), float(len(done)))])


def _machine(result: Result) -> str:
    """What did the computing: "NAME, 2 threads"; "" where that is not recorded."""
    machine, threads = result.provenance.get("machine"), result.provenance.get("threads")
    if not isinstance(machine, dict) or not (name := machine.get("gpu") or machine.get("cpu")):
        return ""
    return clean(f"{name}, {threads} threads" if threads and not machine.get("gpu") else str(name))


def _entry(done: Sequence[Result], name: str) -> Entry:
    recorded = (getattr(result.cost, name) for result in done)
    values = [value for value in recorded if value is not None]
    if not values:
        return Entry(notes=("not recorded" if done else "no complete cell",))
    # A line's cells impute equally many images: all of them over all the seconds is the rates' harmonic mean.
    mean = (statistics.harmonic_mean if name == "images_per_second" else statistics.fmean)(values)
    return Entry(f"{mean:,.0f}" if 100 <= mean < 1e12 else f"{mean:.3g}", mean)
