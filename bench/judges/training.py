"""Train a judge on the complete training images, and keep its weights with what they came from."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import datasets
from bench.classifiers import training, weights
from bench.datasets.dataset import Labels
from bench.datasets.locations import weights_folder
from bench.errors import BenchError
from bench.judges import judge as judges
from bench.judges.known import TRAINED, Trained, judge_to_train
from bench.store.cell_folder import CellFolder, Held

FEWEST_STEPS = 1000
"""A training on few images of the user's own lasts for more epochs, so that it has this many steps."""
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
    epochs: float | None = None,
    output: Path | None = None,
    device: torch.device | None = None,
    say: Say = _to_stderr,
) -> dict[str, Any]:
    """Train the judge of a data set, or go on from its checkpoint in the cache folder, and save its weights.

    If another process trains a judge, wait for it first. On a CPU, ResNet18 follows a shorter schedule than
    on a GPU; the metadata tells which.

    Args:
        dataset: a name or a path; any data set with labels.
        epochs: how many; None for those of the schedule.
        output: the folder for the weights; None for the cache folder.
        say: takes lines about the progress.

    Returns:
        The weights' metadata; "accuracy" is measured on the complete test images with the weights as saved.

    Raises:
        BenchError: the data set is unknown, has no labels or one class only, its files are missing or its
            images too few, or the checkpoint belongs to another training; or as `alone`.
    """
    data = datasets.load(dataset, data_dir)
    lesson = _Lesson(datasets.called(dataset), data, dataset not in TRAINED, *labels_of(data))
    with alone(say):
        return _train(lesson, epochs, output or weights_folder(), device or judges.best_device(), say)


@dataclass(frozen=True, eq=False)
class _Lesson:
    """What a judge learns from: a data set under its name in results, and its labels.

    Attributes:
        own: it is not one of those whose judges come with the package.
    """

    name: str
    data: datasets.Dataset
    own: bool
    labels: Labels
    test_labels: Labels

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    @property
    def judge(self) -> Trained:
        if not self.own:
            return TRAINED[self.name]
        return judge_to_train(self.data.fingerprint, *self.data.train.shape[1:])


def labels_of(data: datasets.Dataset) -> tuple[Labels, Labels]:
    """The labels of the training and the test images, if a judge can learn from them.

    Raises:
        BenchError: there are none or they are of one class only, their numbers have gaps, or a class has no
            training image.
    """
    name = datasets.called(data.name)
    if data.train_labels is None or data.test_labels is None:
        raise BenchError(
            f"{name} has no labels, so no judge can be trained on it; give train/ and test/ with one folder "
            "for each class, or an .npz file with train_labels and test_labels"
        )
    known = np.unique(data.train_labels).tolist()
    if len(known) == 1:
        raise BenchError(f"{name} has training images of one class only; a judge needs two or more")
    if known != list(range(len(known))):
        raise BenchError(
            f"{name}: the classes of its training images run from {known[0]} to {known[-1]}, but there are "
            f"{len(known)}; number them from 0 on, without gaps"
        )
    foreign = np.setdiff1d(data.test_labels, known)
    if len(foreign):
        raise BenchError(f"{name}: no training image has class {foreign[0]} of its test images; add some")
    return data.train_labels, data.test_labels


def _train(
    lesson: _Lesson, epochs: float | None, output: Path, device: torch.device, say: Say
) -> dict[str, Any]:
    data, spec = lesson.data, lesson.judge
    module = importlib.import_module(spec.module)
    schedule = _schedule(module.SCHEDULES["gpu" if device.type == "cuda" else "cpu"], lesson, epochs)
    model = module.build(schedule.seed, classes=lesson.classes)
    checkpoint = weights_folder() / f"{spec.weights}.checkpoint"
    count = len(data.train)
    say(f"training {model.name} on {count} images of {lesson.name} ({device.type}); once, then kept")
    try:
        training.train(
            model,
            torch.from_numpy(np.array(data.train)),
            torch.from_numpy(lesson.labels),
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
    facts = {**_describe(model, data), **_provenance(lesson, schedule, device)}
    predicted = judges.Judge(model, facts, device=device).predict(data.test)
    facts["accuracy"] = accuracy = float((predicted == lesson.test_labels).mean())
    paths = weights.save(output, spec.weights, state, facts, half=spec.half)
    checkpoint.unlink(missing_ok=True)
    say(f"{model.name}: accuracy {accuracy:.4f} on the test images; kept in {', '.join(map(str, paths))}")
    if len(data.test) <= model.dimensions:
        say(f"an FID by it needs more than {model.dimensions} test images, not {len(data.test)}")
    return facts


def _schedule(schedule: training.Schedule, lesson: _Lesson, epochs: float | None) -> training.Schedule:
    """The schedule with all its stages longer or shorter alike."""
    usual = sum(stage.epochs for stage in schedule.stages)
    factor = 1.0 if epochs is None else epochs / usual
    if lesson.own:
        # Whether a class looks the same in a mirror is not known.
        schedule = replace(schedule, flip=False)
        if epochs is None:
            factor = max(1.0, FEWEST_STEPS / (usual * max(1, len(lesson.labels) // schedule.batch_size)))
    if factor == 1:
        return schedule
    stages = tuple(replace(stage, epochs=stage.epochs * factor) for stage in schedule.stages)
    return replace(schedule, stages=stages)


def _describe(model: Any, data: datasets.Dataset) -> dict[str, Any]:
    """What the classifier says of itself, and to which size it has the images scaled, if to any."""
    described = judges.describe(model)
    side: int = model.size
    if data.train.shape[2:] == (side, side):
        return described
    normalisation = f"bilinear to {side}x{side}, {described['normalisation']}"
    return {**described, "normalisation": normalisation, "resized_to": side}


def _provenance(lesson: _Lesson, schedule: training.Schedule, device: torch.device) -> dict[str, Any]:
    return {
        "dataset": lesson.name,
        "classes": lesson.classes,
        "fingerprint": lesson.data.fingerprint,
        "official": lesson.data.official,
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
