"""One cell from its job to its stored result: the same function under every executor.

The cell runs in a process of its own (`bench.run.cell_process`), and its method in another below that.
Here the cell is claimed, its process is watched, and whatever has become of it is stored.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.errors import BenchError
from bench.grid.cell import PROTOCOL, Cell
from bench.grid.counting import number_at_risk, result_of, verdict_on
from bench.metrics import registered
from bench.plugins.registry import describe
from bench.problem.posing import PosedProblem, pose
from bench.run import events
from bench.run.job import CellJob, Job, MethodJob
from bench.run.machine import Machine, settle_precision
from bench.run.watching import CellWatch, Report, Stop
from bench.store.cell_folder import CellFolder, Held
from bench.store.provenance import provenance
from bench.util.failures import MESSAGE_CHARACTERS, failure
from bench.util.files import telling_of_a_full_disk


def run_job(job: Job, report: Report, stop: Stop) -> events.End:
    """Bring one cell to a stored result.

    Args:
        job: made by `bench.run.job.new_job`.
        report: called with each stage of the cell, and with the progress of its fit.
        stop: looked at all the time.

    Returns:
        What has become of the cell. `Refused`: the problem cannot be posed, a metric's name is used twice,
        the disk is full, the folder is not ours to write, or something happened that nobody foresaw.
    """
    try:
        return _run_or_record(here(job), report, stop)
    except Held:
        return events.Held()
    except BenchError as error:
        return events.Refused(why=str(error))
    except Exception as error:
        # Whoever waits for this job must hear of its end, even if no result can be written.
        why = " ".join(f"{job.cell.path}: {type(error).__name__}: {error}".split())
        return events.Refused(why=why[:MESSAGE_CHARACTERS])


def here(job: Job) -> Job:
    """The job with what it leaves to the machine that runs it settled."""
    machine = job.machine
    precision = settle_precision(machine.precision, machine.device, job.cell.description.bfloat16)
    return job.model_copy(update={"machine": replace(machine, precision=precision)})


def _run_or_record(job: Job, report: Report, stop: Stop) -> events.End:
    """Run a cell; a fault of ours becomes its result, unless the folder holds a number."""
    folder = job.cell_folder
    try:
        with telling_of_a_full_disk(folder.path):
            return _run(job, folder, report, stop)
    except BenchError:
        raise
    except Exception as error:
        result = {"cell": job.cell.record(), **failure(error)}
        with folder.claimed():
            if (folder.result() or {}).get("status") == "ok":
                raise
            folder.store(result)
        return events.Stored(result=result)


def _run(job: Job, folder: CellFolder, report: Report, stop: Stop) -> events.End:
    cell, machine = job.cell, job.machine
    # A metric's name that is used twice is refused now rather than after the fit.
    registered()
    posed = pose(cell.problem, machine.data_dir)
    with folder.claimed(stop.told) as lock:
        if stop.told():
            return events.Stopped()
        document = folder.result()
        if document is not None:
            stored = result_of(document)
            if verdict_on(stored, cell, posed.facts, job.asked).counts:
                return events.Kept(result=document)
            at_risk = number_at_risk(stored, cell, posed.facts, job.asked)
            if at_risk is not None:
                raise BenchError(f"{folder.path} {at_risk}")
        if job.rerun == "all":
            folder.discard_checkpoints()
        outcome = _outcome(job, posed, folder, lock, report, stop)
        if outcome is None:
            folder.empty_fresh()
            return events.Stopped()
        result = _known_before(cell, posed) | outcome.document()
        result.setdefault("provenance", _provenance_without(machine))
        result["provenance"] |= {"command": job.command, "timeout": machine.timeout}
        number_kept = folder.store(result)
    return events.Stored(result=result, number_kept=number_kept)


def _outcome(
    job: Job, posed: PosedProblem, folder: CellFolder, lock: int, report: Report, stop: Stop
) -> events.CellOutcome | None:
    """What has become of the claimed cell; None if it was stopped."""
    changed = _changed(job.cell)
    if changed is not None:
        return events.CellOutcome(status="failed", error=changed)
    return CellWatch(_cell_job(job, posed, folder), job.machine, folder, lock, report, stop).outcome()


def _changed(cell: Cell) -> str | None:
    """Why the method's code here is not the code that the cell names; None if it is."""
    try:
        if describe(cell.source).source == cell.description.source:
            return None
    except BenchError as error:
        return str(error)
    return f"the code of {cell.source.name} is not what it was when this run was planned"


def _known_before(cell: Cell, posed: PosedProblem) -> dict[str, Any]:
    """What the result holds whatever becomes of the cell."""
    return {
        "key": cell.key(posed.facts),
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
    """The origin of a result whose process told none; the GPU is not named, since asking would occupy it."""
    return provenance("cpu", machine.threads, machine.precision) | {"device": machine.device}


def _cell_job(job: Job, posed: PosedProblem, folder: CellFolder) -> CellJob:
    """What the cell's process gets, and in `method` what it hands on to the method's process."""
    cell, machine = job.cell, job.machine
    method = MethodJob(
        reference=cell.source.reference,
        settings=cell.settings,
        seed=cell.problem.seed,
        incomplete=posed.incomplete,
        checkpoints=folder.checkpoints(cell.key(posed.facts)),
        output=folder.fresh / folder.imputed.name,
        device=machine.device,
        threads=machine.threads,
        precision=machine.precision,
        timeout=machine.timeout,
        memory=machine.memory,
    )
    return CellJob(
        method=method,
        posed=posed,
        folder=folder.fresh,
        dataset=cell.problem.dataset,
        data_dir=machine.data_dir,
    )
