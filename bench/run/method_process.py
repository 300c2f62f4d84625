"""`python -m bench.run.method_process`: the process in which a method fits and imputes.

It opens incomplete arrays only. Its job names no complete image and no label. The test images are opened
when `fit` is over.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from types import FrameType

import numpy as np
import torch

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer, Interrupted, Progress
from bench.plugins.checkpoints import DiskCheckpoints
from bench.plugins.describe import load_method
from bench.plugins.output import checked_output
from bench.problem.posing import open_incomplete
from bench.run import events
from bench.run.company import company
from bench.run.facts import facts_of
from bench.run.job import MethodJob
from bench.run.limits import grace, limit_memory
from bench.util.failures import failure
from bench.util.files import CannotWrite, write_atomically
from bench.util.processes import STOP_SECONDS, Parent

DEAF_SECONDS = 2.0
"""How long a method that never asks whether to stop may go on after it was told to."""


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""What glibc's malloc.h calls these settings."""


class StopRequest:
    """Remembers that the fit is to stop until the training loop asks; ends a fit that never asks.

    Attributes:
        asked: whether the fit is to stop.
        listening: whether the method has asked.
    """

    def __init__(self) -> None:
        self.asked = False
        self.listening = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Ask the fit to stop; a handler of signals."""
        self.asked = True

    def end(self) -> None:
        """Ask the fit to stop, and end this process after the time that a checkpoint takes.

        If the fit does not listen, there will be no checkpoint, and the process ends sooner.
        """
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
        return MaskedImages.trusted(torch.from_numpy(pixels), torch.from_numpy(observed))


def new_context(
    job: MethodJob, checkpoints: DiskCheckpoints, parent: Parent, stop: StopRequest
) -> FitContext:
    """The FitContext that the job describes; progress goes to the parent."""

    def report(progress: Progress) -> None:
        heard = parent.tell(
            events.Progress(
                epoch=events.whole(progress.epoch),
                epochs=events.whole(progress.epochs),
                step=events.whole(progress.step),
                steps=events.whole(progress.steps),
                losses=events.losses_of(progress.losses),
            )
        )
        # If nobody hears, the parent is stopping or gone: the fit writes its checkpoint and ends.
        stop.asked |= not heard

    return FitContext(
        device=torch.device(job.device),
        seed=job.seed,
        precision=job.precision,
        checkpoints=checkpoints,
        deadline=None if job.timeout is None else time.monotonic() + job.timeout,
        report=report,
        stop_requested=stop,
    )


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next step, rather than give it back to the kernel.

    A training step frees and takes the same large blocks again. Memory that was given back must be zeroed
    and mapped anew, page by page: up to a tenth of a flow's step. Only glibc can be told.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is not None:
        tell(M_MMAP_THRESHOLD, 2**30)
        tell(M_TRIM_THRESHOLD, 2**31 - 1)


def prepare_torch(job: MethodJob) -> None:
    """Settings of torch, and of the memory that it takes, that hold for the whole process."""
    keep_freed_memory()
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    # Left alone, cuDNN rounds float32 convolutions to TF32, and sums in an order that differs between runs.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def fit_and_impute(job: MethodJob, parent: Parent, stop: StopRequest) -> events.MethodOutcome:
    """Run the method; its imputation goes to `job.output`."""
    prepare_torch(job)
    method: Imputer = load_method(job.reference)(**job.settings)
    checkpoints = DiskCheckpoints(job.checkpoints)
    context = new_context(job, checkpoints, parent, stop)
    parent.tell(events.Begun())
    started = time.monotonic()
    method.fit(open_split(job.incomplete, "train"), context)
    fitted = time.monotonic()
    parent.tell(events.Fitted())
    stop.listening = False
    test = open_split(job.incomplete, "test")
    imputed = method.impute(test)
    seconds = time.monotonic() - fitted
    found = checked_output(imputed, test).detach().cpu()
    write_atomically(job.output, lambda file: np.save(file, found.numpy()))
    facts = facts_of(context.facts)
    cost = events.Cost(
        fit_seconds=checkpoints.seconds_before + fitted - started,
        steps=events.whole(facts.pop("steps", 0)),
        impute_ms_per_image=1000 * seconds / len(test),
        peak_memory_mb=peak_memory_mb(context.device),
        parameters=events.whole(facts.pop("parameters", 0)),
    )
    # A method that has hardly kept its deadline shall not lose its number to a test.
    tested = job.timeout is None or seconds < grace(job.timeout) / 2
    other = company(method, test, found) if tested else None
    return events.MethodOutcome(status="ok", cost=cost, fit=facts, company=other)


def peak_memory_mb(device: torch.device) -> float:
    """The most memory that this process has held, in MB: on the GPU if it computed there."""
    # A method that leaves a GPU alone has not initialised it.
    if device.type == "cuda" and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated(device) / 1e6
    # macOS counts bytes, Linux units of 1024 bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def outcome_of(job: MethodJob, parent: Parent, stop: StopRequest) -> events.MethodOutcome:
    """Run the method, and return what has become of it."""
    try:
        return fit_and_impute(job, parent, stop)
    except Interrupted as reason:
        return events.MethodOutcome(status="interrupted", error=str(reason))
    except CannotWrite as error:
        return events.MethodOutcome(status="cannot-write", error=str(error))
    except BaseException as error:
        found = failure(error)
        # Print what the method printed before first, so that the log ends with the reason.
        with suppress(Exception):
            sys.stdout.flush()
        print(found["traceback"], file=sys.stderr)
        return events.MethodOutcome(**found)


def main() -> None:
    parent = Parent()
    job = MethodJob.model_validate(parent.job)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    stop = StopRequest()
    signal.signal(signal.SIGTERM, stop.note)
    parent.on_stop(stop.end)
    # A GPU's driver reserves far more address space than memory, so the limit is for the CPU only.
    if job.memory is not None and job.device == "cpu":
        limit_memory(job.memory)
    outcome = outcome_of(job, parent, stop)
    parent.tell(outcome)
    # An ordinary exit would wait for the threads and children that the method left behind.
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0 if outcome.status == "ok" else 1)


if __name__ == "__main__":
    main()
