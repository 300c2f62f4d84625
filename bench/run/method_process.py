"""`python -m bench.run.method_process`: the process in which a method fits and imputes.

It opens incomplete arrays only. The job names no complete image and no label, and test images are
opened when `fit` is over.
"""

from __future__ import annotations

import faulthandler
import math
import os
import resource
import signal
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer, Interrupted, Progress
from bench.plugins.checkpoints import DiskCheckpoints
from bench.plugins.describe import load_method
from bench.plugins.output import check_output
from bench.problem.posing import open_incomplete
from bench.util.failures import failure
from bench.util.files import CannotWrite, write_atomically
from bench.util.processes import STOP_SECONDS, Parent, keep_from_children

DEEPEST = 20
"""How deep the facts of a fit may be nested."""

DEAF_SECONDS = 2.0
"""How long after a stop a method may go on that never asks whether to stop."""


class StopRequest:
    """Remembers that the fit is to stop until the training loop asks; ends one that does not.

    Attributes:
        asked: whether it is to stop.
        listening: whether the method asks now and then.
    """

    def __init__(self) -> None:
        self.asked = False
        self.listening = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """The same by a signal."""
        self.asked = True

    def end(self) -> None:
        """Stop, within the time that a checkpoint takes, or at once where there will be none."""
        self.asked = True
        until = time.monotonic() + STOP_SECONDS
        time.sleep(DEAF_SECONDS)
        while self.listening and time.monotonic() < until:
            time.sleep(0.1)
        os.killpg(0, signal.SIGKILL)

    def __call__(self) -> bool:
        self.listening = True
        return self.asked


def open_split(folder: Path, split: str) -> MaskedImages:
    """One split of the posed problem, as the method gets it."""
    pixels, observed = open_incomplete(folder, split)
    with warnings.catch_warnings():
        # The file is opened read-only on purpose; torch warns that writing to it would crash.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return MaskedImages(torch.from_numpy(pixels), torch.from_numpy(observed))


def new_context(
    job: dict[str, Any], checkpoints: DiskCheckpoints, parent: Parent, stop: StopRequest
) -> FitContext:
    """The FitContext that the job describes; progress goes to the parent."""

    def report(progress: Progress) -> None:
        where = {name: int(getattr(progress, name)) for name in ("epoch", "epochs", "step", "steps")}
        losses = {str(name): float(loss) for name, loss in progress.losses.items()}
        # Nobody hears any more: the parent is stopping, or gone. The fit writes its checkpoint and ends.
        stop.asked |= not parent.tell({"progress": where | {"losses": losses}})

    timeout = job["timeout"]
    return FitContext(
        device=torch.device(job["device"]),
        seed=job["seed"],
        precision=job["precision"],
        checkpoints=checkpoints,
        deadline=None if timeout is None else time.monotonic() + timeout,
        report=report,
        stop_requested=stop,
    )


def fit_and_impute(job: dict[str, Any], parent: Parent, stop: StopRequest) -> dict[str, Any]:
    """Run the method; the imputation goes to `job["output"]`, what it cost is returned."""
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    # cuDNN's own choice: float32 convolutions rounded to TF32, sums in an order that changes from run to run.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    method: Imputer = load_method(job["reference"])(**job["settings"])
    checkpoints = DiskCheckpoints(Path(job["checkpoints"]))
    context = new_context(job, checkpoints, parent, stop)
    folder = Path(job["incomplete"])
    parent.tell({"begun": True})
    started = time.monotonic()
    method.fit(open_split(folder, "train"), context)
    fitted = time.monotonic()
    stop.listening = False
    test = open_split(folder, "test")
    imputed = method.impute(test)
    seconds = time.monotonic() - fitted
    check_output(imputed, test)
    found = imputed.detach().cpu().numpy()
    write_atomically(Path(job["output"]), lambda file: np.save(file, found))
    facts = plain(context.facts)
    return {
        "cost": {
            "fit_seconds": checkpoints.seconds_before + fitted - started,
            "steps": count(facts.get("steps")),
            "impute_ms_per_image": 1000 * seconds / len(test),
            "peak_memory_mb": peak_memory_mb(context.device),
            "parameters": count(facts.get("parameters")),
        },
        "fit": {name: fact for name, fact in facts.items() if name not in ("steps", "parameters")},
    }


def plain(value: Any, depth: int = 0) -> Any:
    """What a method tells of itself as JSON can hold it; a fit is not lost for a fact that it cannot."""
    if depth > DEEPEST:
        return None
    if isinstance(value, dict):
        return {str(name): plain(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    return value if value is None or isinstance(value, str) else str(value)[:200]


def count(value: Any) -> int:
    """A number of steps or parameters; 0 where it is none."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < 10**15 else 0


def peak_memory_mb(device: torch.device) -> float:
    """The most memory this process has held, in MB: on the GPU where it computed there."""
    # A method that leaves a GPU alone has not initialised it.
    if device.type == "cuda" and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def limit_memory(gigabytes: float) -> None:
    """Refuse this process more than so much private memory beyond what it holds now (Linux).

    What the whole tree of processes holds is measured from outside, now and then; this stops the one
    allocation that would be too large before anybody can measure it.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        now = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
        most = now + int(gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    except (OSError, ValueError, OverflowError, StopIteration):
        return


def outcome_of(job: dict[str, Any], parent: Parent, stop: StopRequest) -> dict[str, Any]:
    """Run the method; what became of it, with `status`."""
    try:
        return {"status": "ok", **fit_and_impute(job, parent, stop)}
    except Interrupted as reason:
        return {"status": "interrupted", "error": str(reason)}
    except CannotWrite as error:
        return {"status": "cannot-write", "error": str(error)}
    except BaseException as error:
        found = failure(error)
        # A log ends with why, and not with what a method printed before and Python still held.
        with suppress(Exception):
            sys.stdout.flush()
        print(found["traceback"], file=sys.stderr)
        return found


def main() -> None:
    parent = Parent()
    job = parent.job
    keep_from_children(job["lock"])
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    stop = StopRequest()
    signal.signal(signal.SIGTERM, stop.note)
    parent.on_stop(stop.end)
    # Larger reservations of address space than of memory are how a GPU's driver works.
    if job["memory"] is not None and job["device"] == "cpu":
        limit_memory(job["memory"])
    outcome = outcome_of(job, parent, stop)
    parent.tell({"outcome": outcome})
    # Threads and children that the method left behind would keep an ordinary exit waiting.
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0 if outcome["status"] == "ok" else 1)


if __name__ == "__main__":
    main()
