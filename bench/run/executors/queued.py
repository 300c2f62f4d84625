"""What an executor does about a cell before and after another machine runs it: keep it, begin it, lose it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from bench.errors import BenchError
from bench.grid.counting import Asked, result_of, verdict_on
from bench.problem.posing import facts_of
from bench.run import events
from bench.run.job import Job, identity
from bench.run.worker import here
from bench.store.cell_folder import Held
from bench.util.failures import MESSAGE_CHARACTERS, TRACEBACK_CHARACTERS
from bench.util.processes import STOP_SECONDS

Answer = TypeVar("Answer")

HELD_SECONDS = 5.0
"""How long to wait for a cell that is held. `bench status` holds a cell for a moment when it looks at it."""


def kept(job: Job) -> events.End | None:
    """What `run_job` would return without running anything; None if the cell is to be run."""
    return _kept(job, here(job).asked)


def _kept(job: Job, asked: Asked) -> events.End | None:
    try:
        facts = facts_of(job.cell.problem, job.machine.data_dir)
        document = job.cell_folder.result()
    except BenchError as error:
        return events.Refused(why=str(error))
    if document is None or not verdict_on(result_of(document), job.cell, facts, asked).counts:
        return None
    return events.Kept(result=document)


def begun_anew(job: Job) -> Job:
    """The job as it may be started more than once: what `--rerun` forgets is forgotten now, not each time.

    The job remembers which result was stored before it, to tell that one from its own.
    """
    folder = job.cell_folder
    job = job.model_copy(update={"before": identity(folder.result())})
    if job.rerun != "all":
        return job

    def discard() -> events.Held | None:
        with folder.claimed():
            folder.discard_checkpoints()
        return None

    when_free(discard, HELD_SECONDS)
    return job.model_copy(update={"rerun": "anew"})


def lost(job: Job, why: str, status: str = "failed") -> events.End:
    """Store that an executor lost a cell, unless the cell had stored its result; returns as `run_job` does.

    A number that an earlier run stored stays.

    Args:
        status: "failed" or "timeout".
    """
    error = " ".join(why.split())[:MESSAGE_CHARACTERS]
    outcome = {"status": status, "error": error, "traceback": why[-TRACEBACK_CHARACTERS:]}
    try:
        # What is left of the cell may still be writing its checkpoint.
        return when_free(lambda: _store_loss(job, outcome), STOP_SECONDS + 10)
    except BenchError as fault:
        return events.Refused(why=str(fault))


def when_free(act: Callable[[], Answer], seconds: float) -> Answer | events.Held:
    """What `act` returns, which claims a cell; `Held` if another holds the cell for so many seconds."""
    until = time.monotonic() + seconds
    while True:
        try:
            return act()
        except Held:
            if time.monotonic() > until:
                return events.Held()
            time.sleep(0.1)


def _store_loss(job: Job, outcome: dict[str, str]) -> events.End:
    cell, folder = job.cell, job.cell_folder
    with folder.claimed():
        stored = folder.result()
        asked = here(job).asked
        end = _kept(job, Asked(None, asked.timeout, asked.precision))
        its_own = identity(stored) != job.before
        if isinstance(end, events.Refused) or (end is not None and its_own):
            return end
        key = cell.key(facts_of(cell.problem, job.machine.data_dir))
        result = {"key": key, "cell": cell.record(), "asked": cell.asked, **outcome}
        return events.Stored(result=result, number_kept=folder.store(result))
