"""One cell from its plan to its stored result: the same function under every executor.

The cell runs in a process of its own (`bench.run.cell_process`), and its method in another below that; here
both are watched, and what became of them is written down, whatever it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.datasets import BUILT_IN
from bench.errors import BenchError
from bench.grid.cell import PROTOCOL, Cell
from bench.metrics import registered
from bench.plugins.registry import describe
from bench.problem.posing import PosedProblem, facts_of, pose
from bench.run.job import Job, cell_of, folder_of, machine_of
from bench.run.machine import Machine
from bench.store.cell_folder import CellFolder, Held
from bench.store.provenance import provenance
from bench.util.failures import MESSAGE_CHARACTERS, TRACEBACK_CHARACTERS, failure
from bench.util.files import CappedLog, telling_of_a_full_disk
from bench.util.processes import STOP_SECONDS, Child, Event

NOTE_SECONDS = 3.0
HELD_SECONDS = 5.0
SCORING_SECONDS = 600.0
"""How long scoring may take where there is a deadline for the fit, unless that is longer."""

Report = Callable[[Event], None]


@dataclass
class Stop:
    """How to stop a running cell: `asked`, it writes its checkpoint first; `now`, it does not."""

    asked: threading.Event = field(default_factory=threading.Event)
    now: threading.Event = field(default_factory=threading.Event)

    def told(self) -> bool:
        """Whether it is to stop, one way or the other."""
        return self.asked.is_set() or self.now.is_set()


def run_job(job: Job, report: Report, stop: Stop) -> dict[str, Any]:
    """Bring one cell to a stored result.

    Args:
        job: made by `new_job`.
        report: called with each `progress` of the fit and each `stage`.
        stop: watched all the time.

    Returns:
        `end`: "stored"; "kept", where the result was there; "held", where another run has the cell;
        "stopped", where there is no result yet; or "refused", where the user must put something right:
        the problem cannot be posed, a metric's name is used twice, the disk is full, the folder not ours
        to write, or something that nobody foresaw. `result`: the stored one, in the first two cases.
        `why`: of a refusal, one line.
    """
    try:
        return _ended(job, report, stop)
    except Held:
        return {"end": "held"}
    except BenchError as error:
        return {"end": "refused", "why": str(error)}
    except Exception as error:
        # Whoever waits for this job has to hear of its end, even where no result can be written.
        why = " ".join(f"{job.get('path')}: {type(error).__name__}: {error}".split())
        return {"end": "refused", "why": why[:MESSAGE_CHARACTERS]}


def kept(job: Job) -> dict[str, Any] | None:
    """What `run_job` would return without running anything; None where the cell is to be run."""
    cell = cell_of(job)
    try:
        key = cell.key(facts_of(cell.problem, machine_of(job).data_dir))
    except BenchError as error:
        return {"end": "refused", "why": str(error)}
    stored = folder_of(job).result()
    if stored is None or stored.get("key") != key or _again(stored, cell, job):
        return None
    return {"end": "kept", "result": stored}


def begun_anew(job: Job) -> Job:
    """A job that may be started more than once: what `--rerun` forgets is forgotten now, not each time.

    It remembers which result was stored before it, which is none of its own.
    """
    folder = folder_of(job)
    job = job | {"before": identity(folder.result())}
    if job["rerun"] != "all":
        return job

    def discard() -> dict[str, Any]:
        with folder.claimed():
            folder.discard_checkpoints()
        return {}

    # Who only looks whether the cell is running holds it for a moment.
    when_free(discard, HELD_SECONDS)
    return job | {"rerun": "anew"}


def identity(result: Mapping[str, Any] | None) -> list[Any] | None:
    """What tells a stored result from an earlier one of the same cell."""
    return None if result is None else [result.get("key"), result.get("provenance", {}).get("date")]


def lost(job: Job, why: str, status: str = "failed") -> dict[str, Any]:
    """Write down that an executor lost a cell, unless it had stored its result; as `run_job` returns.

    A number that an earlier run stored stays.
    """
    error = " ".join(why.split())[:MESSAGE_CHARACTERS]
    outcome = {"status": status, "error": error, "traceback": why[-TRACEBACK_CHARACTERS:]}
    try:
        # What is left of the cell may still be writing its checkpoint.
        return when_free(lambda: _write_loss(job, outcome), STOP_SECONDS + 10)
    except BenchError as fault:
        return {"end": "refused", "why": str(fault)}


def when_free(act: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any]:
    """What `act` returns, which claims a cell; `end` "held" where it stays held."""
    until = time.monotonic() + seconds
    while True:
        try:
            return act()
        except Held:
            if time.monotonic() > until:
                return {"end": "held"}
            time.sleep(0.1)


def _write_loss(job: Job, outcome: dict[str, Any]) -> dict[str, Any]:
    cell, folder = cell_of(job), folder_of(job)
    with folder.claimed():
        stored = folder.result()
        own = identity(stored) != job.get("before")
        end = kept(job | {"rerun": None})
        if end is not None and (own or end["end"] != "kept"):
            return end
        key = cell.key(facts_of(cell.problem, machine_of(job).data_dir))
        result = {"key": key, "cell": cell.record(), "asked": cell.asked, **outcome}
        # A number is not lost for a node that was.
        if stored is None or stored.get("status") != "ok":
            folder.write(result)
        return {"end": "stored", "result": result}


def _ended(job: Job, report: Report, stop: Stop) -> dict[str, Any]:
    cell, machine = cell_of(job), machine_of(job)
    folder = folder_of(job)
    try:
        with telling_of_a_full_disk(folder.path):
            return _run(job, cell, machine, folder, report, stop)
    except BenchError:
        raise
    except Exception as error:
        result = {"cell": cell.record(), **failure(error)}
        with folder.claimed():
            if (folder.result() or {}).get("status") == "ok":
                raise
            folder.write(result)
        return {"end": "stored", "result": result}


def _run(
    job: Job, cell: Cell, machine: Machine, folder: CellFolder, report: Report, stop: Stop
) -> dict[str, Any]:
    # A metric's name used twice is refused now rather than when the fit is done.
    registered()
    posed = pose(cell.problem, machine.data_dir)
    key = cell.key(posed.facts)
    with folder.claimed(stop.told) as lock:
        if stop.told():
            return {"end": "stopped"}
        stored = folder.result()
        if stored is not None and stored.get("key") == key and not _again(stored, cell, job):
            return {"end": "kept", "result": stored}
        _refuse_another(stored, cell, posed, folder, job["rerun"])
        if job["rerun"] == "all":
            folder.discard_checkpoints()
        changed = _changed(cell)
        outcome: dict[str, Any] | None = {"status": "failed", "error": changed}
        if changed is None:
            given = _cell_job(cell, machine, posed, folder, folder.checkpoints(key), lock)
            outcome = _Running(given, machine, folder, report, stop).outcome()
        if outcome is None:
            folder.empty_fresh()
            return {"end": "stopped"}
        result = _known_before(cell, posed, key) | outcome
        result.setdefault("provenance", _provenance_without(machine))
        result["provenance"] |= {"command": job["command"], "timeout": machine.timeout}
        folder.adopt_fresh()
        folder.write(result)
    return {"end": "stored", "result": result}


def _refuse_another(
    stored: Mapping[str, Any] | None, cell: Cell, posed: PosedProblem, folder: CellFolder, rerun: str | None
) -> None:
    """Raises BenchError where the folder holds the number of something else, which would be lost."""
    if stored is None or stored["status"] != "ok":
        return
    was, now = stored["cell"], cell.record()
    for name in ("method", "dataset", "settings", "rate"):
        if was.get(name) != now[name]:
            raise BenchError(
                f"{folder.path} holds a result of {name} {was.get(name)!r}, not {now[name]!r}, whose folder "
                "would be the same; choose another --results"
            )
    pixels = stored.get("problem", {}).get("fingerprint")
    own = cell.problem.dataset != cell.dataset
    if own and rerun not in ("all", "anew") and pixels not in (None, posed.facts["fingerprint"]):
        raise BenchError(
            f"{folder.path} holds a result of other images that are called {cell.dataset} too; "
            "replace it with --rerun, or choose another --results"
        )


def _changed(cell: Cell) -> str | None:
    """What is wrong where the method's code here is not what the key says; None where it is."""
    try:
        if describe(cell.source).source == cell.description.source:
            return None
    except BenchError as error:
        return str(error)
    return f"the code of {cell.source.name} is not what it was when this run was planned"


def _again(stored: Mapping[str, Any], cell: Cell, job: Job) -> bool:
    """Whether a cell with this stored result is run again.

    One that was interrupted always is, and one whose number this run would not have made: its fit ended
    at a deadline that is longer now, or its products were of another precision than is asked for.
    """
    status, rerun = stored.get("status"), job["rerun"]
    if rerun in ("all", "anew") or status == "interrupted":
        return True
    if status != "ok":
        return bool(rerun == "failed")
    how, machine = stored.get("provenance", {}), machine_of(job)
    longer = machine.timeout is None or machine.timeout > (how.get("timeout") or 0)
    if "stopped" in stored.get("fit", {}) and longer:
        return True
    # Without a word on it, a number from a GPU, in bfloat16, also counts on a machine without one.
    by_default = cell.asked.get("from", {}).get("precision", "default") == "default"
    return not by_default and how.get("precision") not in (None, machine.precision)


def _known_before(cell: Cell, posed: PosedProblem, key: str) -> dict[str, Any]:
    return {
        "key": key,
        "cell": cell.record(),
        "asked": cell.asked,
        "problem": posed.facts,
        "display": {
            "method": cell.description.display_name,
            "dataset": posed.display_name,
            "baseline": cell.description.baseline,
            "citation": cell.description.citation,
            "dataset_citation": posed.citation,
        },
        "method": {"settings": cell.settings, "source": cell.description.source},
        "protocol": PROTOCOL,
    }


def _provenance_without(machine: Machine) -> dict[str, Any]:
    """What can be said where the cell's process did not: asking for the GPU's name here would occupy it."""
    return provenance("cpu", machine.threads, machine.precision) | {"device": machine.device}


def _cell_job(
    cell: Cell, machine: Machine, posed: PosedProblem, folder: CellFolder, checkpoints: Path, lock: int
) -> Job:
    """What the cell's process gets, and in `method` what it hands on to the method's."""
    how = {
        "device": machine.device,
        "threads": machine.threads,
        "precision": machine.precision,
        "timeout": machine.timeout,
        "memory": machine.memory,
    }
    return how | {
        "method": how
        | {
            "reference": cell.source.reference,
            "settings": cell.settings,
            "seed": cell.problem.seed,
            "incomplete": str(posed.incomplete),
            "checkpoints": str(checkpoints),
            "output": str(folder.fresh / folder.imputed.name),
            "lock": lock,
        },
        "posed": {
            "incomplete": str(posed.incomplete),
            "complete": str(posed.complete),
            "facts": posed.facts,
        },
        "folder": str(folder.fresh),
        "dataset": cell.problem.dataset,
        "data_dir": None if machine.data_dir is None else str(machine.data_dir),
    }


class _Running:
    """One cell's process, watched until it has ended."""

    def __init__(self, given: Job, machine: Machine, folder: CellFolder, report: Report, stop: Stop) -> None:
        self._given = given
        self._machine = machine
        self._folder = folder
        self._report = report
        self._stop = stop
        self._told: dict[str, Any] = {}
        self._noted = 0.0
        self._scoring_seconds = max(machine.timeout or 0, SCORING_SECONDS)
        self._scored_by: float | None = None
        self._late = False

    def outcome(self) -> dict[str, Any] | None:
        """What became of it, with `status`; None where it was stopped.

        Raises:
            BenchError: the user must put something right.
        """
        # What an earlier run left stays until there is a result to take its place.
        self._folder.empty_fresh()
        threads = str(self._machine.threads)
        environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        # Scoring takes the GPU that it sees.
        if self._machine.gpu is not None or self._machine.device == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = self._machine.gpu or ""
        log = CappedLog(self._folder.log)
        self._child = Child(
            "bench.run.cell_process",
            self._given,
            environment,
            patience=STOP_SECONDS + 5,
            output=log.write,
            inherited=[self._given["method"]["lock"]],
        )
        try:
            self._child.follow(self._hear, self._tick)
        finally:
            log.close()
            self._folder.progress.unlink(missing_ok=True)
        return self._settle(log.last.decode(errors="replace"))

    def _hear(self, event: Event) -> None:
        if "progress" not in event and "stage" not in event:
            self._told.update(event)
            return
        now = time.monotonic()
        if event.get("stage") == "scoring" and self._machine.timeout is not None:
            self._scored_by = now + self._scoring_seconds
        if "stage" in event or now - self._noted > NOTE_SECONDS:
            self._noted = now
            self._folder.note(event)
        self._report(event)

    def _tick(self) -> None:
        if self._stop.now.is_set():
            self._child.end()
        elif self._stop.asked.is_set():
            self._child.ask_to_stop()
        elif self._scored_by is not None and time.monotonic() > self._scored_by:
            self._late = True
            self._child.end()

    def _settle(self, printed: str) -> dict[str, Any] | None:
        if "outcome" in self._told:
            outcome: dict[str, Any] = self._told["outcome"]
        elif "refused" in self._told:
            raise BenchError(self._told["refused"])
        elif "stopped" in self._told or self._stop.told():
            return None
        elif self._late:
            outcome = {"status": "timeout", "error": self._why_late()}
        else:
            error = f"the cell's process ended without a result ({self._child.how_it_ended})"
            status = "out-of-memory" if self._child.out_of_memory else "failed"
            outcome = {"status": status, "error": error}
        if outcome["status"] not in ("ok", "interrupted"):
            outcome.setdefault("traceback", printed)
        return outcome

    def _why_late(self) -> str:
        dataset = self._given["dataset"]
        advice = f"a --timeout above {self._scoring_seconds:.0f} allows it more"
        if dataset in BUILT_IN:
            advice = f"`bench prepare --dataset {dataset}` gets the judge ready ahead of time, and {advice}"
        return f"scoring did not end within {self._scoring_seconds:.0f} s and was ended; {advice}"
