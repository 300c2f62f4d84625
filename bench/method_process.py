"""`python -m bench.method_process JOB.json`: the process in which a method fits and imputes.

It opens incomplete arrays only. The job names no complete image and no label, and test images are
opened when `fit` is over.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from bench.checkpoints import DiskCheckpoints
from bench.describe import load_method
from bench.files import write_json
from bench.images import MaskedImages, describe
from bench.imputer import FitContext, Imputer, Interrupted, Progress
from bench.problem import open_incomplete


class StopRequest:
    """Remembers that the fit is to stop until the training loop asks."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def __call__(self) -> bool:
        return self.asked


def open_split(folder: Path, split: str) -> MaskedImages:
    """One split of the posed problem, as the method gets it."""
    pixels, observed = open_incomplete(folder, split)
    with warnings.catch_warnings():
        # The file is opened read-only on purpose; torch warns that writing to it would crash.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return MaskedImages(torch.from_numpy(pixels), torch.from_numpy(observed))


def new_context(job: dict[str, Any], stop: StopRequest) -> FitContext:
    """The FitContext that the job describes; progress goes to its pipe as lines of JSON."""

    def report(progress: Progress) -> None:
        line = json.dumps(vars(progress) | {"losses": dict(progress.losses)}) + "\n"
        try:
            os.write(job["progress"], line.encode())
        except BrokenPipeError:
            # Nobody reads any more: the parent is stopping, or gone. The fit writes its checkpoint and ends.
            stop.asked = True

    timeout = job.get("timeout")
    return FitContext(
        device=torch.device(job["device"]),
        seed=job["seed"],
        precision=job["precision"],
        checkpoints=DiskCheckpoints(Path(job["checkpoints"])),
        deadline=None if timeout is None else time.monotonic() + timeout,
        report=report,
        stop_requested=stop,
    )


def fit_and_impute(job: dict[str, Any], stop: StopRequest) -> dict[str, Any]:
    """Run the method; the imputation goes to `job["output"]`, what it cost is returned."""
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    method: Imputer = load_method(job["reference"])(**job["settings"])
    context = new_context(job, stop)
    folder = Path(job["incomplete"])
    started = time.monotonic()
    method.fit(open_split(folder, "train"), context)
    fitted = time.monotonic()
    test = open_split(folder, "test")
    imputed = method.impute(test)
    seconds = time.monotonic() - fitted
    check_output(imputed, test)
    np.save(job["output"], imputed.cpu().numpy())
    facts = context.facts
    return {
        "cost": {
            "fit_seconds": fitted - started,
            "steps": facts.get("steps", 0),
            "impute_ms_per_image": 1000 * seconds / len(test),
            "peak_memory_mb": peak_memory_mb(context.device),
            "parameters": facts.get("parameters", 0),
        },
        "fit": {name: fact for name, fact in facts.items() if name not in ("steps", "parameters")},
    }


def check_output(imputed: Any, images: MaskedImages) -> None:
    """Refuse an imputation that does not keep the contract.

    Raises:
        ValueError: it is not (N, C, H, W) float32, finite, in [0, 1].
    """
    if not isinstance(imputed, torch.Tensor):
        raise ValueError(f"impute must return a tensor, not {type(imputed).__name__}")
    if imputed.shape != images.pixels.shape or imputed.dtype != torch.float32:
        raise ValueError(f"impute must return float32 {tuple(images.pixels.shape)}, not {describe(imputed)}")
    if not imputed.isfinite().all():
        raise ValueError("impute returned NaN or infinite values")
    low, high = float(imputed.min()), float(imputed.max())
    if low < 0 or high > 1:
        raise ValueError(f"impute returned values in [{low:.3g}, {high:.3g}]; they must lie in [0, 1]")


def peak_memory_mb(device: torch.device) -> float:
    """The most memory this process has held, in MB: on the GPU where it computes there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    # A terminal's Ctrl-C reaches the whole group; the parent turns it into a SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        outcome = {"status": "ok", **fit_and_impute(job, StopRequest())}
    except Interrupted as reason:
        outcome = {"status": "interrupted", "error": str(reason)}
    except BaseException as error:
        status = "out-of-memory" if isinstance(error, MemoryError | torch.OutOfMemoryError) else "failed"
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        outcome = {"status": status, "error": message, "traceback": traceback.format_exc()}
        traceback.print_exc()
    write_json(Path(job["outcome"]), outcome)
    sys.exit(0 if outcome["status"] == "ok" else 1)


if __name__ == "__main__":
    main()
