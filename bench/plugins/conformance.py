"""Checks whether a method keeps the contract, on small made-up images and in processes of their own."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bench.plugins.conformance_messages import (
    ENDING_SECONDS,
    Answer,
    CheckJob,
    Finished,
    LeftBehind,
    read_answer,
)
from bench.plugins.registry import Description, Source, describe, find_methods
from bench.util.files import CappedLog
from bench.util.processes import Child

CHECKS: dict[str, str] = {
    "output": "the imputation is a finite float32 tensor in [0, 1], shaped as the images",
    "inputs": "neither fit nor impute changes the images that it is given",
    "repeat": "the same seed gives the same imputation",
    "company": "an imputation does not depend on the other images in the call",
    "reload": "a finished fit, made again from its checkpoints, imputes the same",
    "sparse": "it fits and imputes where 90 % is missing",
    "empty": "it fits and imputes where some images have no observed pixel",
    "deadline": "fit ends soon after its deadline, and the method can then impute",
    "resume": "a fit that was stopped and goes on ends as one that was not",
}
"""What is checked, by name, in this order; in the end, whether a file or a process is left behind."""

TRACES = "traces"
Images = Literal["grey", "colour"]
SIZES: dict[Images, str] = {"grey": "mnist", "colour": "cifar10"}
"""The kinds of images, and the data set whose settings are taken for each."""

BRIEF = ("output", "company")
"""The checks on colour images of a method that takes grey ones."""

BATCH_SIZE = 16
CHECK_SECONDS = 300.0


@dataclass(frozen=True)
class Outcome:
    """What one check found.

    Attributes:
        images: "grey", "colour" or "all".
        check: a name in `CHECKS`, or "traces".
        status: "pass"; "fail"; "refuses" if the method takes no such images; "skipped" if the fit that the
            check needs fails.
        reason: on one line; "" if there is nothing to say.
    """

    images: str
    check: str
    status: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.status:8} {self.images:7} {self.check:9} {self.reason}".rstrip()


def failures(plugin: Path) -> list[str]:
    """The checks that a plugin file fails, a line each; for a plugin's own tests.

    Raises:
        BenchError: the file cannot be loaded.
    """
    source = find_methods([plugin])[plugin.stem]
    return [str(outcome) for outcome in check(source) if outcome.status == "fail"]


def check(source: Source, checks: Sequence[str] = (*CHECKS, TRACES)) -> Iterator[Outcome]:
    """Check a method on grey images and, in brief, on colour ones; on colour alone if it refuses grey.

    Args:
        source: the method.
        checks: which, in the order of `CHECKS`.

    Raises:
        BenchError: the method cannot be loaded.
    """
    description = describe(source)
    thorough = [name for name in checks if name != TRACES]
    found: list[Outcome] = []
    traces: list[str] = []
    for images in SIZES:
        accepted = any(outcome.status != "refuses" for outcome in found)
        names = [name for name in thorough if name in BRIEF] if accepted else thorough
        for outcome in _check_images(source, description, images, names, traces):
            found.append(outcome)
            yield outcome
    if found and all(outcome.status == "refuses" for outcome in found):
        yield replace(found[-1], status="fail", reason="it takes neither grey nor colour images")
    elif TRACES in checks:
        yield Outcome("all", TRACES, "fail" if traces else "pass", "; ".join(dict.fromkeys(traces)))


def _check_images(
    source: Source, description: Description, images: Images, names: Sequence[str], traces: list[str]
) -> Iterator[Outcome]:
    """The outcomes on one kind of images; what the method leaves behind is added to `traces`.

    A check that ends its process has failed, and the next ones get a new process.
    """
    waiting = list(names)
    while waiting:
        with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
            job = CheckJob(
                reference=source.reference,
                settings=_settings(description, "smoke", images),
                long_settings=_settings(description, "paper", images),
                images=images,
                checks=tuple(waiting),
                folder=Path(folder) / "checkpoints",
            )
            process = _Checking(Path(folder), job)
            for answer in process.answers():
                waiting.remove(answer.check)
                yield Outcome(images, answer.check, answer.status, answer.reason)
                if answer.status == "refuses":
                    waiting.clear()
            if process.finished or not waiting:
                traces += process.traces()
                return
            yield Outcome(images, waiting.pop(0), "fail", process.why_it_ended())


def _settings(description: Description, preset: str, images: Images) -> dict[str, Any]:
    """A preset's settings; batches are small, so that a few images make several steps."""
    settings = description.resolve(preset, SIZES[images], {})
    if isinstance(settings.get("batch_size"), int):
        settings["batch_size"] = min(BATCH_SIZE, settings["batch_size"])
    return settings


class _Checking:
    """The process that makes some checks, in an empty folder.

    Attributes:
        finished: whether it has made them all.
    """

    def __init__(self, folder: Path, job: CheckJob) -> None:
        self._empty = folder / "empty"
        self._empty.mkdir()
        self._names = set(job.checks)
        self.finished = False
        self._log = CappedLog(folder / "log.txt")
        self._late = self._lingers = self._strange = False
        self._left = 0
        self._until = time.monotonic() + CHECK_SECONDS
        self._child = Child(
            "bench.plugins.conformance_process",
            _environment(),
            output=self._log.write,
            folder=self._empty,
            ending=ENDING_SECONDS,
        )
        self._child.send(job.model_dump(mode="json"))

    def answers(self) -> Iterator[Answer]:
        """Each check's answer as it comes; the process has ended when there are no more."""
        for line in self._child.messages(self._tick):
            message = read_answer(line)
            if isinstance(message, LeftBehind):
                self._left = message.processes
            elif isinstance(message, Finished):
                self.finished = True
                self._until = time.monotonic() + 10 * ENDING_SECONDS
            elif message is None or message.check not in self._names:
                self._strange = True
                break
            else:
                self._names.remove(message.check)
                self._until = time.monotonic() + CHECK_SECONDS
                yield message
        self._log.close()

    def _tick(self) -> None:
        if time.monotonic() > self._until:
            self._lingers, self._late = self.finished, not self.finished
            self._child.end()

    def why_it_ended(self) -> str:
        """Why the process ended before it had made all checks."""
        if self._late:
            return f"it did not end within {CHECK_SECONDS:g} seconds"
        if self._strange:
            return "its process sent something that is not an answer"
        code = self._child.exit_status
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        last = self._log.last.decode(errors="replace").strip().splitlines()[-1:]
        return " ".join([f"its process ended ({how})", *last])

    def traces(self) -> list[str]:
        """The files, threads and processes that the method left behind."""
        files = sorted(str(path.relative_to(self._empty)) for path in self._empty.rglob("*"))
        found = [f"left {', '.join(files[:3])} in the current folder"] if files else []
        if self._lingers:
            found.append("left a thread running, which keeps its process from ending")
        elif self.finished and (self._left or self._child.left_behind):
            found.append("left a process running")
        return found


def _environment() -> dict[str, str]:
    """What the process gets beside ours: one thread, no bytecode beside the plugin, and absolute paths."""
    given = os.environ.get("PYTHONPATH", "")
    absolute = [str(Path(entry).absolute()) for entry in given.split(os.pathsep) if entry]
    return {
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(absolute),
    }
