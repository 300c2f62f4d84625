"""One cell: pose the problem, let the method's process fit and impute, score what it wrote, record it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.files import write_json
from bench.metrics import Scoring, registered, score_all
from bench.plan import PROTOCOL, Cell
from bench.problem import PosedProblem, pose
from bench.provenance import provenance
from bench.store import CellFolder

GRACE_SECONDS = 60.0
"""How long past its deadline a method may take to stop by itself and impute."""

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Machine:
    """Where and how cells run.

    Attributes:
        device: "cpu", "cuda", ...
        threads: CPU threads of the method's process.
        precision: "float32" or "bfloat16".
        data_dir: where data sets are looked for first.
        timeout: seconds a fit may take, or None.
    """

    device: str
    threads: int
    precision: str
    data_dir: Path | None = None
    timeout: float | None = None


def run_cell(
    cell: Cell, root: Path, machine: Machine, report: Report, rerun: bool = False
) -> tuple[dict[str, Any], bool]:
    """Bring one cell to a stored result.

    Args:
        cell: what to run.
        root: the results' root folder.
        machine: where and how.
        report: called with each Progress of the fit, as a mapping.
        rerun: run it even where a matching result is stored.

    Returns:
        The result, and whether it was there already.

    Raises:
        BenchError: the problem cannot be posed, a metric's name is used twice, or the folder is not ours
            to write.
    """
    # A metric's name used twice is refused now rather than when the fit is done.
    registered()
    posed = pose(cell.problem, machine.data_dir)
    key = cell.key(posed.facts)
    folder = CellFolder(root, cell.path)
    with folder.claimed():
        if folder.done(key) and not rerun:
            return folder.result() or {}, True
        if rerun:
            folder.discard_checkpoints()
        result = {
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
        outcome = _run_method(cell, posed, folder, folder.checkpoints(key), machine, report)
        result |= outcome
        if outcome["status"] == "ok":
            result["metrics"] = _score(cell, posed, folder, machine)
        result["provenance"] = provenance(machine.device, machine.threads, machine.precision)
        folder.write(result)
    return result, False


def _run_method(
    cell: Cell, posed: PosedProblem, folder: CellFolder, checkpoints: Path, machine: Machine, report: Report
) -> dict[str, Any]:
    """Let the method work in a process of its own; what became of it, with `status`."""
    reading, writing = os.pipe()
    job = {
        "reference": cell.source.reference,
        "settings": cell.settings,
        "incomplete": str(posed.incomplete),
        "checkpoints": str(checkpoints),
        "output": str(folder.imputed),
        "outcome": str(folder.outcome),
        "device": machine.device,
        "threads": machine.threads,
        "precision": machine.precision,
        "seed": cell.problem.seed,
        "timeout": machine.timeout,
        "progress": writing,
    }
    write_json(folder.job, job)
    for stale in (folder.outcome, folder.imputed):
        stale.unlink(missing_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(machine.threads), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    with folder.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.method_process", str(folder.job)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=[writing],
            start_new_session=True,
        )
    os.close(writing)
    try:
        late = _follow(process, reading, machine.timeout, report)
    except BaseException:
        _end(process)
        raise
    return _outcome(process, folder, late)


def _follow(process: subprocess.Popen[bytes], reading: int, timeout: float | None, report: Report) -> bool:
    """Pass the process's progress on until it ends; whether it had to be killed for being late."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        os.killpg(process.pid, signal.SIGKILL)

    watch = threading.Timer(timeout + GRACE_SECONDS, kill) if timeout is not None else None
    if watch is not None:
        watch.start()
    try:
        with os.fdopen(reading) as lines:
            for line in lines:
                report(json.loads(line))
        process.wait()
    finally:
        if watch is not None:
            watch.cancel()
    return late.is_set()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to write its checkpoint and stop; insist after a while."""
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _outcome(process: subprocess.Popen[bytes], folder: CellFolder, late: bool) -> dict[str, Any]:
    if late:
        return {"status": "timeout", "error": "it did not stop at its deadline and was ended"}
    try:
        outcome: dict[str, Any] = json.loads(folder.outcome.read_text())
    except (OSError, ValueError):
        how = f"killed by signal {-process.returncode}" if process.returncode < 0 else "it left"
        error = f"the method's process ended without an outcome ({how}); see {folder.log.name}"
        return {"status": "failed", "error": error}
    return outcome


def _score(cell: Cell, posed: PosedProblem, folder: CellFolder, machine: Machine) -> dict[str, Any]:
    """Open the truth, paste the observed pixels over the imputation, and measure."""
    recovered = paste(posed, np.load(folder.imputed, mmap_mode="r"))
    folder.write_samples(posed.truth, posed.observed, recovered)
    scoring = Scoring(
        truth=posed.truth,
        imputed=recovered,
        observed=posed.observed,
        labels=posed.labels,
        train_truth=posed.train_truth,
        fingerprint=posed.facts["fingerprint"],
        dataset=cell.problem.dataset,
        data_dir=machine.data_dir,
    )
    scores = score_all(scoring)
    folder.write_per_image(scoring.per_image)
    return scores


def paste(posed: PosedProblem, imputed: NDArray[np.float32]) -> NDArray[np.float32]:
    """m * x + (1 - m) * x_hat, clipped: (N, C, H, W), float32 in [0, 1].

    Raises:
        BenchError: the imputation does not fit the problem.
    """
    if imputed.shape != posed.truth.shape:
        raise BenchError(f"the imputation is {imputed.shape}, the problem {posed.truth.shape}")
    seen = posed.truth.astype(np.float32) / 255
    return np.where(posed.observed, seen, np.clip(imputed, 0, 1)).astype(np.float32)
