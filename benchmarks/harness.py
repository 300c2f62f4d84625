"""What the harness itself costs: posing a problem, scoring, the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SMOKE = ("--methods", "mean", "--dataset", "mnist", "--rates", "0.8", "--preset", "smoke")


def measure(images: int) -> dict[str, float]:
    """Seconds that each part of the harness takes on MNIST with `images` training and test images."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        # An empty cache, so that posing is measured and not the reading of a posed problem.
        os.environ["BENCH_CACHE"] = str(directory / "cache")
        seconds = {
            "bench --help": call("--help", directory=directory),
            "bench run, one cell": call("run", *SMOKE, directory=directory),
            "bench table": call("table", directory=directory),
        }
        return seconds | in_process(images)


def call(*arguments: str, directory: Path) -> float:
    """Wall time of one `bench` call."""
    script = Path(sys.executable).with_name("bench")
    return timed(
        lambda: subprocess.run([script, *arguments], cwd=directory, check=True, capture_output=True)
    )[0]


def in_process(images: int) -> dict[str, float]:
    """Posing and scoring without the start of a process."""
    from bench.metrics import Scoring, score_all
    from bench.problem.posing import Problem, pose

    problem = Problem("mnist", rate=0.8, train=images, test=min(images, 10_000))
    posing, posed = timed(lambda: pose(problem, None))
    scoring = Scoring(
        truth=posed.truth,
        imputed=np.full(posed.truth.shape, 0.5, np.float32),
        observed=posed.observed,
        labels=posed.labels,
        train_truth=posed.train_truth,
        fingerprint=posed.facts["fingerprint"],
        dataset="mnist",
    )
    first, _ = timed(lambda: score_all(scoring))
    again, _ = timed(lambda: score_all(scoring))
    count = f"{images:,} + {len(posed.truth):,} digits"
    return {
        f"pose {count}": posing,
        f"score {count}, first of its problem": first,
        f"score {count}, later": again,
    }


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result
