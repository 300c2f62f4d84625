"""Running a stored cell again from its own record, and comparing the numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.datasets import BUILT_IN, called, registered
from bench.errors import BenchError
from bench.grid.cell import PROTOCOL, Cell
from bench.plugins.registry import Description, describe_all, find_methods
from bench.problem.posing import Problem, facts_of
from bench.review.status import problem_of, rebuild
from bench.run.executors.local import Local
from bench.run.machine import Machine, machine_for, settle_precision
from bench.run.run_cells import run_cells
from bench.store.provenance import provenance
from bench.store.results import Metric, Result, read_result

TOLERANCE = 0.01
"""How much a number without an interval may differ, as a fraction of the stored one."""

MOST_THREADS = 4096
"""A record with a larger number of threads is not believed."""

LONGEST_SECONDS = 1e9
"""A record with a later deadline is not believed."""


@dataclass(frozen=True)
class Comparison:
    """One metric, as it was stored and as it is now.

    Attributes:
        verdict: "exact", "within" or "off".
        text: the verdict with the numbers, for people.
    """

    metric: str
    verdict: str
    text: str


@dataclass(frozen=True)
class Reproduction:
    """A cell ready to be run again.

    Attributes:
        stored: what was measured.
        cell, machine: what is run now, and where.
        remarks: what differs from the record, a line each.
    """

    stored: Result
    cell: Cell
    machine: Machine
    remarks: tuple[str, ...]

    def run(self) -> Result:
        """Run the cell in a results folder that is dropped afterwards.

        Raises:
            BenchError: as `bench.run.run_cells.run_cells`.
        """
        with tempfile.TemporaryDirectory(prefix="bench-reproduce-") as folder:
            root = Path(folder)
            run_cells([self.cell], root, self.machine, None, Local())
            return read_result(root / self.cell.path / "result.json")


def prepare(
    stored: Result,
    plugins: Iterable[Path] = (),
    dataset: str | None = None,
    data_dir: Path | None = None,
    device: str | None = None,
    timeout: float | None = None,
) -> Reproduction:
    """What is to be run again, from a result's own record.

    Args:
        dataset: the path of a data set that is known by its path only, which no record holds.
        device: where to compute; None takes the recorded device.
        timeout: how many seconds the fit may take; None takes the recorded time.

    Raises:
        BenchError: the method, the data or the device are not here, or are not those of the record.
    """
    known = find_methods(plugins)
    named = [known[stored.cell.method]] if stored.cell.method in known else []
    cell = rebuild(stored, known, describe_all(named))
    if isinstance(cell, str):
        raise BenchError(f"this cell cannot be run again: {cell}")
    cell = replace(cell, problem=measured_on(stored, dataset))
    cell = replace(cell, overrides=_overrides(stored, cell))
    check_facts(stored, facts_of(cell.problem, data_dir))
    recorded = stored.provenance
    precision, threads = recorded.get("precision"), recorded.get("threads")
    machine = machine_for(
        device or str(recorded.get("device") or "auto"),
        str(precision) if precision in ("float32", "bfloat16") else "auto",
        threads if isinstance(threads, int) and 1 <= threads <= MOST_THREADS else None,
        data_dir,
        _deadline(stored) if timeout is None else timeout,
    )
    settled = settle_precision(machine.precision, machine.device, cell.description.bfloat16)
    machine = replace(machine, precision=settled)
    return Reproduction(stored, cell, machine, tuple(_remarks(stored, cell, machine)))


def _deadline(stored: Result) -> float | None:
    """The recorded deadline in seconds; None if there is none, or if the record cannot be right."""
    seconds = stored.provenance.get("timeout")
    return seconds if isinstance(seconds, int | float) and 1 <= seconds <= LONGEST_SECONDS else None


def measured_on(stored: Result, dataset: str | None = None) -> Problem:
    """The problem that a result was measured on.

    Args:
        dataset: the path of a data set that is known by its path only, which no record holds.

    Raises:
        BenchError: the data set is known by its path only, or the one given is another.
    """
    name = stored.cell.dataset
    if dataset is None and name not in (*BUILT_IN, *registered()):
        raise BenchError(f"the record names the data set {name!r} alone; give its path with --dataset")
    if dataset is not None and called(dataset) != name:
        raise BenchError(f"--dataset is {called(dataset)!r}; the cell is of {name!r}")
    return problem_of(stored, dataset or name)


def _overrides(stored: Result, cell: Cell) -> dict[str, Any]:
    """The recorded settings, as overrides of today's.

    Raises:
        BenchError: the method has no such setting any more, or takes another type of value for it.
    """
    description: Description = cell.description
    now = replace(cell, overrides={}).settings
    overrides: dict[str, Any] = {}
    for name, value in {**stored.cell.settings, **stored.method.settings}.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        parsed = description.parse(name, text)
        if now[name] != parsed:
            overrides[name] = parsed
    return overrides


def check_facts(stored: Result, facts: Mapping[str, Any]) -> None:
    """Refuse a data set that has other pixels here, or of which other pixels go missing.

    Args:
        facts: of the posed problem (`bench.problem.posing.facts_of`).

    Raises:
        BenchError: they differ.
    """
    for what, then, now in (
        (
            "the data set's pixels are not those of the record",
            stored.problem.fingerprint,
            facts["fingerprint"],
        ),
        ("other pixels would go missing than in the record", stored.problem.observed, facts["observed"]),
    ):
        if then is not None and then != now:
            raise BenchError(f"{what} ({then[:19]} then, {now[:19]} now); give the same files in --data-dir")


def _remarks(stored: Result, cell: Cell, machine: Machine) -> Iterator[str]:
    """What differs from the record."""
    then, now = stored.provenance, provenance(machine.device, machine.threads, machine.precision)
    if stored.stopped:
        yield (
            f"how far the fit gets: it was ended early ({stored.stopped}), and two fits do not get equally "
            "far in the same time, so expect other numbers"
        )
    deadlines = _deadline(stored), machine.timeout
    if deadlines[0] != deadlines[1]:
        told = [f"{seconds:g} s" if seconds else "none" for seconds in deadlines]
        yield f"timeout: {told[0]} then, {told[1]} now"
    if stored.method.source != cell.description.source:
        yield "the method's code is not that of the record"
    if stored.protocol != PROTOCOL:
        yield f"the protocol was version {stored.protocol} then, it is {PROTOCOL} now"
    for name in sorted(cell.settings.keys() - stored.method.settings.keys()):
        yield f"setting {name} did not exist then; it is {cell.settings[name]} now"
    for name in ("device", "precision", "threads", "machine"):
        if then.get(name) != now[name]:
            yield f"{name}: {_plain(then.get(name))} then, {_plain(now[name])} now"
    packages = then.get("packages")
    for name, version in now["packages"].items():
        before = packages.get(name) if isinstance(packages, dict) else None
        if before != version:
            yield f"{name}: {_plain(before)} then, {_plain(version)} now"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(str(part) for part in value.values() if part)
    return "not recorded" if value is None else str(value)


def compare(then: Result, now: Result) -> list[Comparison]:
    """Compare each stored metric with the one of now; if a cell failed, compare how it ended.

    "exact": the number is the same. "within": it lies in the stored 95 % interval or, if none is stored,
    within `TOLERANCE` of the stored number. "off": neither, or there is no number now.
    """
    if not (then.ok and now.ok):
        same = then.status == now.status
        ends = [f"{one.status}{f' ({one.error})' if one.error else ''}" for one in (then, now)]
        verdict = "exact" if same else "off"
        return [Comparison("status", verdict, f"{verdict}: {ends[0]} then, {ends[1]} now")]
    return [_compare(name, then.metrics[name], now.metric(name)) for name in then.metrics]


def _compare(name: str, then: Metric, now: Metric) -> Comparison:
    if then.value is None:
        told = "none then or now" if now.value is None else f"none then, {now.value:.6g} now"
        return Comparison(name, "exact" if now.value is None else "within", told)
    if now.value is None:
        return Comparison(name, "off", f"off: {then.value:.6g} then, none now ({now.reason})")
    numbers = f"{then.value:.6g} then, {now.value:.6g} now, {now.value - then.value:+.3g}"
    if now.value == then.value:
        return Comparison(name, "exact", f"exact: {then.value:.6g}")
    if then.low is not None and then.high is not None:
        inside = then.low <= now.value <= then.high
        limits = f"the 95 % interval {then.low:.6g} to {then.high:.6g}"
    else:
        inside = abs(now.value - then.value) <= TOLERANCE * abs(then.value)
        limits = f"{TOLERANCE:.0%}; it has no interval"
    told = f"within {limits}" if inside else f"off, outside {limits}"
    judges = "; judged by other weights" if then.weights != now.weights else ""
    return Comparison(name, "within" if inside else "off", f"{told}: {numbers}{judges}")
