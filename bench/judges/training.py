"""Train a judge on the complete training images, and keep its weights with what they came from."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import datasets
from bench.classifiers import training, weights
from bench.datasets.locations import weights_folder
from bench.errors import BenchError
from bench.judges import judge as judges
from bench.judges.known import TRAINED
from bench.store.cell_folder import CellFolder, Held
from bench.util.text import unknown

REPORT_SECONDS = 30.0
LOOK_SECONDS = 1.0

Say = Callable[[str], None]


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def alone(say: Say = _to_stderr) -> Iterator[None]:
    """Within it, no other process trains a judge into this cache folder; wait for one that does.

    Trainings keep their checkpoints there, under the same names.

    Raises:
        BenchError: the folder cannot be written, or its file system knows no locks.
    """
    with contextlib.ExitStack() as stack:
        if not _claimed(stack):
            say("another process trains a judge; waiting for it")
            while not _claimed(stack):
                time.sleep(LOOK_SECONDS)
        yield


def _claimed(stack: contextlib.ExitStack) -> bool:
    """Hold the judges' folder, as a run holds a cell's, until the stack is closed; False if it is held."""
    try:
        stack.enter_context(CellFolder(weights_folder(), Path()).claimed())
    except Held:
        return False
    return True


def train_judge(
    dataset: str,
    data_dir: Path | None = None,
    *,
    output: Path | None = None,
    device: torch.device | None = None,
    say: Say = _to_stderr,
) -> dict[str, Any]:
    """Train the judge of a data set, or go on from its checkpoint in the cache folder, and save its weights.

    If another process trains a judge, wait for it first. On a CPU, ResNet18 follows a shorter schedule than
    on a GPU; the metadata tells which.

    Args:
        output: the folder for the weights; None for the cache folder.
        say: takes lines about the progress.

    Returns:
        The weights' metadata; "accuracy" is measured on the complete test images with the weights as saved.

    Raises:
        BenchError: the data set has no judge to train, its files are missing or too few, or the checkpoint
            belongs to another training; or as `alone`.
    """
    if dataset not in TRAINED:
        raise BenchError(unknown("judge to train", dataset, TRAINED))
    with alone(say):
        return _train(dataset, data_dir, output or weights_folder(), device or judges.best_device(), say)


def _train(
    dataset: str, data_dir: Path | None, output: Path, device: torch.device, say: Say
) -> dict[str, Any]:
    spec = TRAINED[dataset]
    data = datasets.load(dataset, data_dir)
    if data.train_labels is None or data.test_labels is None:
        raise BenchError(f"{dataset} came without labels, so no judge can be trained on it")
    module = importlib.import_module(spec.module)
    schedule = module.SCHEDULES["gpu" if device.type == "cuda" else "cpu"]
    model = module.build(schedule.seed)
    checkpoint = weights_folder() / f"{spec.weights}.checkpoint"
    say(f"training {model.name} on {len(data.train)} images of {dataset} ({device.type}); once, then kept")
    try:
        training.train(
            model,
            torch.from_numpy(np.array(data.train)),
            torch.from_numpy(data.train_labels),
            schedule,
            fingerprint=data.fingerprint,
            device=device,
            checkpoint=checkpoint,
            report=_reporter(say),
        )
    except ValueError as error:
        raise BenchError(str(error)) from error
    state = weights.rounded(model.state_dict(), spec.half)
    model.load_state_dict(state)
    facts = {**judges.describe(model), **_provenance(data, schedule, device)}
    predicted = judges.Judge(model, facts, device=device).predict(data.test)
    facts["accuracy"] = accuracy = float((predicted == data.test_labels).mean())
    paths = weights.save(output, spec.weights, state, facts, half=spec.half)
    checkpoint.unlink(missing_ok=True)
    say(f"{model.name}: accuracy {accuracy:.4f} on the test images; kept in {', '.join(map(str, paths))}")
    return facts


def _provenance(data: datasets.Dataset, schedule: training.Schedule, device: torch.device) -> dict[str, Any]:
    return {
        "dataset": data.name,
        "fingerprint": data.fingerprint,
        "official": data.official,
        "schedule": asdict(schedule),
        "torch": torch.__version__,
        "device": device.type,
    }


def _reporter(say: Say) -> Callable[[training.TrainingProgress], None]:
    """Tells where the training stands: an estimate after its first steps, then twice a minute."""
    last = 0.0
    calls = 0

    def report(progress: training.TrainingProgress) -> None:
        nonlocal last, calls
        calls += 1
        now = time.monotonic()
        # The first steps are slower than the rest, so the first estimate waits for a few.
        if calls == 10 or (calls > 10 and now - last > REPORT_SECONDS):
            last = now
            say(
                f"step {progress.step} of {progress.steps}, images {progress.size} wide, "
                f"loss {progress.loss:.3f}, about {max(1, round(progress.seconds_left / 60))} minutes left"
            )

    return report
