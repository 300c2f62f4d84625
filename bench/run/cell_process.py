"""`python -m bench.run.cell_process`: the process of one cell.

It lets the method work in another process, then scores.

Its job: `method` (what the method's process gets), `posed` (the posed problem's folders and facts), `folder`
(the cell's), `dataset`, `data_dir`, `device`, `threads`, `precision`, `timeout` and `memory`. It tells each
`stage` when it begins (fitting, scoring), the method's `progress`, and at the end one of `outcome` (what the
result holds beside what was known before), `stopped`, or `refused` with what a user must put right.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.problem.posing import PosedProblem
from bench.store.cell_folder import CellFolder
from bench.store.provenance import provenance
from bench.util.failures import failure
from bench.util.files import CannotWrite, telling_of_a_full_disk
from bench.util.processes import (
    STOP_SECONDS,
    Child,
    Event,
    Parent,
    end_descendants,
    held_bytes,
    inherit_orphans,
    keep_from_children,
    resident_bytes,
)

STARTUP_SECONDS = 600.0
"""How long a method's process may take to begin: packages on a network file system load slowly."""

STOPPED = 3
"""The exit status of a cell that was asked to stop."""


def grace(timeout: float) -> float:
    """How long past its deadline a method may take to stop by itself and impute, in seconds."""
    return min(60.0, max(5.0, timeout))


class Limits:
    """Ends the method's process when it is late or holds too much memory; notes why.

    Attributes:
        outcome: `status` and `error` where it was ended.
    """

    def __init__(self, method: Child, timeout: float | None, memory: float | None) -> None:
        self._method = method
        self._seconds = None if timeout is None else timeout + grace(timeout)
        self._latest = (
            math.inf if self._seconds is None else time.monotonic() + STARTUP_SECONDS + self._seconds
        )
        self._bytes = None if memory is None else memory * 1e9
        self.outcome: dict[str, Any] | None = None

    def begin(self) -> None:
        """The fit begins now; what came before, as slow as its disk, is not the method's."""
        if self._seconds is not None:
            self._latest = time.monotonic() + self._seconds

    def __call__(self) -> None:
        if time.monotonic() > self._latest:
            self._method.show_stack()
            self._end("timeout", "it did not stop at its deadline and was ended")
        elif self._bytes is not None and resident_bytes() > self._bytes:
            # What is resident may be files, which the kernel can take back; to tell them apart is slow.
            held = held_bytes()
            if held > self._bytes:
                error = f"its processes held {held / 1e9:.2f} GB; --memory allows {self._bytes / 1e9:g}"
                self._end("out-of-memory", error)

    def _end(self, status: str, error: str) -> None:
        self.outcome = {"status": status, "error": error}
        self._method.end()


def run_method(job: dict[str, Any], parent: Parent, stop: threading.Event) -> dict[str, Any]:
    """Let the method fit and impute in a process of its own; what became of it, with `status`."""
    told: dict[str, Any] = {}

    def hear(event: Event) -> None:
        if "outcome" in event:
            told.update(event["outcome"])
        elif "begun" in event:
            limits.begin()
            parent.tell({"stage": "fitting"})
        else:
            parent.tell(event)

    lock = job["method"]["lock"]
    method = Child(
        "bench.run.method_process",
        job["method"],
        {"OMP_NUM_THREADS": str(job["threads"]), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
        patience=STOP_SECONDS + 2,
        inherited=[lock],
    )
    keep_from_children(lock)
    limits = Limits(method, job["timeout"], job["memory"])

    def tick() -> None:
        if stop.is_set():
            method.ask_to_stop()
        else:
            limits()

    method.follow(hear, tick)
    left_behind = method.left_behind | end_descendants()
    if limits.outcome is not None:
        return limits.outcome
    if not told:
        error = f"the method's process ended without an outcome ({method.how_it_ended})"
        if method.out_of_memory:
            return {"status": "out-of-memory", "error": f"{error}: the kernel had no memory left"}
        return {"status": "failed", "error": error}
    return told | ({"processes_ended": len(left_behind)} if left_behind else {})


def score(job: dict[str, Any], folder: CellFolder) -> dict[str, Any]:
    """Open the truth, paste the observed pixels over the imputation, and measure."""
    from bench.metrics import score_all
    from bench.metrics.scoring import scoring_of

    given = job["posed"]
    posed = PosedProblem(Path(given["incomplete"]), Path(given["complete"]), given["facts"])
    data_dir = None if job["data_dir"] is None else Path(job["data_dir"])
    scoring = scoring_of(posed, folder.imputed, job["dataset"], data_dir)
    folder.write_samples(scoring.truth, scoring.observed, scoring.imputed)
    scores = score_all(scoring)
    folder.write_per_image(scoring.per_image)
    return scores


def scored(job: dict[str, Any], folder: CellFolder) -> dict[str, Any]:
    """The metrics, or why there are none: scoring that fails costs its own cell only.

    Raises:
        CannotWrite: the disk is full.
    """
    try:
        with telling_of_a_full_disk(folder.path):
            return {"metrics": score(job, folder)}
    except CannotWrite:
        raise
    except Exception as error:
        return failure(error, "scoring: ")


@contextlib.contextmanager
def leaving_when_asked(stop: threading.Event) -> Any:
    """Within it, nothing is lost by leaving at once: the fit is over and its checkpoint written."""
    over = threading.Event()

    def leave() -> None:
        stop.wait()
        if not over.is_set():
            os._exit(STOPPED)

    threading.Thread(target=leave, daemon=True).start()
    yield
    over.set()


def run(job: dict[str, Any], parent: Parent, stop: threading.Event) -> Event:
    """Fit, impute and score; the last event to tell."""
    folder = CellFolder(Path(job["folder"]), Path())
    outcome = run_method(job, parent, stop)
    if stop.is_set() and outcome["status"] != "ok":
        return {"stopped": True}
    if outcome["status"] == "cannot-write":
        raise CannotWrite(outcome["error"])
    with leaving_when_asked(stop):
        if outcome["status"] == "ok":
            parent.tell({"stage": "scoring"})
            outcome |= scored(job, folder)
        outcome["provenance"] = provenance(job["device"], job["threads"], job["precision"])
        return {"outcome": outcome}


def main() -> None:
    parent = Parent()
    inherit_orphans()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    parent.on_stop(stop.set)
    job = parent.job
    try:
        with telling_of_a_full_disk(Path(job["folder"])):
            last = run(job, parent, stop)
    except BenchError as error:
        last = {"refused": str(error)}
    parent.tell(last)


if __name__ == "__main__":
    main()
