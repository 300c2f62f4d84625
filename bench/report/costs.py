"""What each method cost: time, memory and parameters."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from bench.report.groups import Group
from bench.report.layout import Column, Entry, Line, Table, about, lines_of
from bench.report.means import LINE
from bench.store.frame import cells

COSTS = {
    "fit_seconds": "fit (s)",
    "images_per_second": "imputed (images/s)",
    "peak_memory_mb": "peak memory (MB)",
    "parameters": "parameters",
}
UNRECORDED = "an unrecorded machine"


def cost_table(group: Group, number: int) -> Table:
    """The mean cost of every row over its complete cells, all rates and seeds.

    Args:
        number: the table's.
    """
    costs = _costs(group.frame)
    machines = {machine for names in costs["hardware"] for machine in names} - {UNRECORDED}
    blocks = tuple(
        tuple(line.row(group, _entries(line, costs, name_machines=len(machines) > 1)) for line in lines)
        for lines in lines_of(group)
    )
    columns = (*(Column(title) for title in COSTS.values()), Column("cells"))
    caption = [
        "Means over the complete cells of all rates and seeds.",
        "Images imputed in a second: all images over all seconds.",
        *(f"Measured on {machine}." for machine in machines if len(machines) == 1),
    ]
    return Table(number, "cost", "Cost", columns, blocks, about(group), tuple(caption))


def _costs(frame: pd.DataFrame) -> pd.DataFrame:
    """By row: the mean of each of `COSTS` over the complete cells, their number, and their machines."""
    every = cells(frame)
    complete = every[every["status"] == "ok"].groupby([*LINE])
    costs = complete[["fit_seconds", "impute_ms_per_image", "peak_memory_mb", "parameters"]].mean()
    # The cells of a row impute equally many images, so this is all of the images over all of the seconds.
    costs["images_per_second"] = 1000 / costs["impute_ms_per_image"].where(costs["impute_ms_per_image"] > 0)
    costs["cells"] = complete.size()
    costs["hardware"] = complete["hardware"].agg(lambda names: sorted({name or UNRECORDED for name in names}))
    return costs


def _entries(line: Line, costs: pd.DataFrame, name_machines: bool) -> list[Entry]:
    """One row's; on several machines, a note to its first number says which."""
    if line.key not in costs.index:
        return [Entry(notes=("no complete cell",))] * len(COSTS) + [Entry("0", 0.0)]
    row = costs.to_dict("index")[line.key]
    entries = [_entry(row[name]) for name in COSTS]
    if name_machines:
        note = f"measured on {' and '.join(row['hardware'])}"
        entries[0] = replace(entries[0], notes=(*entries[0].notes, note))
    return [*entries, Entry(str(row["cells"]), float(row["cells"]))]


def _entry(mean: float) -> Entry:
    if pd.isna(mean):
        return Entry(notes=("not recorded",))
    return Entry(f"{mean:,.0f}" if 100 <= mean < 1e12 else f"{mean:.3g}", float(mean))
