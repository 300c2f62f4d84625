"""`python -m bench.run.cell_process`: the process of one cell.

It gets a `CellJob`, lets the method work in another process, and then scores. It tells each stage when it
begins, passes on the method's progress, and tells at the end what has become of the cell.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from bench.errors import BenchError
from bench.metrics import score_all
from bench.metrics.scoring import scoring_of
from bench.run import events
from bench.run.guarding import Guard
from bench.run.job import CellJob, MethodJob
from bench.run.limits import Limits
from bench.store.cell_folder import CellFolder
from bench.store.provenance import provenance
from bench.util.failures import failure
from bench.util.files import CannotWrite, telling_of_a_full_disk
from bench.util.forking import SAFE, main_of
from bench.util.process_tree import end_descendants, inherit_orphans
from bench.util.processes import STOP_SECONDS, Child, Parent, given_files

STOPPED = 3
"""The exit status of a cell that was asked to stop."""

CLEARED = "the cache was cleared while this cell ran; run it again: the fit goes on from its last checkpoint"


def waiting_method() -> Child:
    """The method's process. It is made before the cell's job is read, so it knows nothing of that."""
    module = "bench.run.method_process"
    return Child(
        main_of(module) if SAFE else module,
        {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
        inherited=given_files(),
        patience=STOP_SECONDS + 2,
    )


def run_method(
    method: Child, job: MethodJob, parent: Parent, stop: threading.Event
) -> tuple[events.MethodOutcome, int]:
    """Let the method fit and impute in its process.

    Returns:
        What has become of the method, and how many processes it left behind.
    """
    method.send(job.as_json())
    limits = Limits(method, job.timeout, job.memory)

    def tick() -> None:
        if stop.is_set():
            method.ask_to_stop()
        else:
            limits.check()

    told: events.MethodOutcome | None = None
    try:
        for line in method.messages(tick):
            event = events.read_method_event(line)
            if isinstance(event, events.MethodOutcome):
                told = event
            elif isinstance(event, events.Begun):
                limits.begin()
                parent.tell(events.Stage(name="fitting"))
            elif isinstance(event, events.Fitted):
                limits.fitted()
            else:
                parent.tell(event)
    except events.NoEvent as error:
        message = f"its process sent something that is not an event: {error}"
        told = events.MethodOutcome(status="failed", error=message)
    left_behind = method.left_behind | end_descendants()
    return limits.outcome or told or without_a_word(method), len(left_behind)


def without_a_word(method: Child) -> events.MethodOutcome:
    """What has become of a method whose process ended without telling."""
    error = f"the method's process ended without an outcome ({method.how_it_ended})"
    if method.out_of_memory:
        error += ": the kernel had no memory left"
        return events.MethodOutcome(status="out-of-memory", error=error)
    return events.MethodOutcome(status="failed", error=error)


def score(job: CellJob, folder: CellFolder) -> events.Facts:
    """Open the complete images, paste the observed pixels over the imputation, and measure."""
    scoring = scoring_of(job.posed, folder.imputed, job.dataset, job.data_dir)
    folder.write_samples(scoring.truth, scoring.observed, scoring.imputed)
    scores = score_all(scoring)
    folder.write_per_image(scoring.per_image)
    return scores


def scored(job: CellJob, outcome: events.CellOutcome) -> events.CellOutcome:
    """The outcome with its metrics, or with the reason why there are none.

    Scoring that fails costs its own cell only.

    Raises:
        CannotWrite: the disk is full.
    """
    folder = CellFolder(job.folder, Path())
    try:
        with telling_of_a_full_disk(folder.path):
            return outcome.model_copy(update={"metrics": score(job, folder)})
    except CannotWrite:
        raise
    except Exception as error:
        return outcome.model_copy(update=failure(error, "scoring: "))


@contextlib.contextmanager
def leaving_when_asked(stop: threading.Event) -> Iterator[None]:
    """Within it, the process leaves at once when it is asked to stop.

    Nothing is lost: the fit is over, and its checkpoint is written.
    """
    over = threading.Event()

    def leave() -> None:
        stop.wait()
        if not over.is_set():
            os._exit(STOPPED)

    threading.Thread(target=leave, daemon=True).start()
    yield
    over.set()


def run(
    waiting: Child, job: CellJob, parent: Parent, stop: threading.Event
) -> events.CellOutcome | events.Stopped:
    """Fit, impute and score.

    Raises:
        CannotWrite: the disk is full.
        BenchError: the cache was cleared, so the method is not to blame.
    """
    method = job.method
    guard = Guard(job.posed)
    told, left_behind = run_method(waiting, method, parent, stop)
    changed = guard.remove_changed()
    if stop.is_set() and told.status != "ok":
        return events.Stopped()
    if told.status == "cannot-write":
        raise CannotWrite(told.error)
    outcome = events.CellOutcome(
        status=told.status,
        error=told.error,
        traceback=told.traceback,
        cost=told.cost,
        fit=told.fit,
        company=told.company,
        processes_ended=left_behind or None,
    )
    if changed is not None and outcome.status == "ok":
        outcome = outcome.model_copy(update={"status": "failed", "error": changed})
    with leaving_when_asked(stop):
        if outcome.status == "ok":
            parent.tell(events.Stage(name="scoring"))
            outcome = scored(job, outcome)
        if outcome.status == "failed" and changed is None and guard.missing():
            raise BenchError(CLEARED)
        origin = provenance(method.device, method.threads, method.precision)
        return outcome.model_copy(update={"provenance": origin})


def main() -> None:
    method = waiting_method()
    parent = Parent()
    inherit_orphans()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    parent.on_stop(stop.set)
    job = CellJob.model_validate(parent.job)
    last: events.CellOutcome | events.Stopped | events.Refused
    try:
        with telling_of_a_full_disk(job.folder):
            last = run(method, job, parent, stop)
    except BenchError as error:
        last = events.Refused(why=str(error))
    parent.tell(last)


if __name__ == "__main__":
    main()
