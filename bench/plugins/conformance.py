"""Whether a method keeps the contract: checks that run it in processes of their own, on small made images."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.plugins.registry import Description, Source, describe, find_methods
from bench.util.files import write_json

CHECKS: dict[str, str] = {
    "output": "the imputation is a finite float32 tensor in [0, 1], shaped as the images",
    "inputs": "neither fit nor impute changes the images that it is given",
    "repeat": "the same seed gives the same imputation",
    "company": "an imputation does not depend on the other images in the call",
    "reload": "a finished fit, made again from its checkpoints, imputes the same",
    "sparse": "it fits and imputes where 90 % is missing",
    "empty": "it fits and imputes where some images have no observed pixel",
    "deadline": "fit ends soon after its deadline, and what it has learnt imputes",
    "resume": "a fit that was stopped and goes on ends as one that was not",
}
"""What is checked, by name, in this order; then, once, whether a file or a process is left behind."""

TRACES = "traces"
SIZES = {"grey": "mnist", "colour": "cifar10"}
"""Kinds of images, and the data set whose settings are taken for them."""

BRIEF = ("output", "company")
BATCH_SIZE = 16
CHECK_SECONDS = 300.0
PATIENCE = 30.0
ENDING_SECONDS = 3.0


@dataclass(frozen=True)
class Outcome:
    """What one check found.

    Attributes:
        images: "grey" or "colour".
        check: a name in `CHECKS`, or "traces".
        status: "pass"; "fail"; "refuses", where the method takes no such images; "skipped", where the
            fit that it needs fails.
        reason: on one line; "" where there is nothing to say.
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


def check(
    source: Source, checks: Sequence[str] = (*CHECKS, TRACES), patience: float = PATIENCE
) -> Iterator[Outcome]:
    """Check a method, on grey images and, in brief, on colour; on colour alone where it refuses grey.

    Args:
        source: the method.
        checks: which, in the order of `CHECKS`.
        patience: how many seconds past its deadline a fit may take.

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
        for outcome in _check_images(source, description, images, names, patience, traces):
            found.append(outcome)
            yield outcome
    if found and all(outcome.status == "refuses" for outcome in found):
        yield replace(found[-1], status="fail", reason="it takes neither grey nor colour images")
    elif TRACES in checks:
        yield Outcome("all", TRACES, "fail" if traces else "pass", "; ".join(dict.fromkeys(traces)))


def _check_images(
    source: Source,
    description: Description,
    images: str,
    names: Sequence[str],
    patience: float,
    traces: list[str],
) -> Iterator[Outcome]:
    """The outcomes on one kind of images; what is left behind is added to `traces`.

    A check that ends its process is a failure, and the next ones get a new process.
    """
    waiting = list(names)
    while waiting:
        with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
            job = {
                "reference": source.reference,
                "settings": _settings(description, "smoke", images),
                "long_settings": _settings(description, "paper", images),
                "images": images,
                "checks": waiting,
                "patience": patience,
            }
            process = _Process(Path(folder), job)
            for name, answer in process.answers():
                waiting.remove(name)
                yield Outcome(images, name, **answer)
                if answer["status"] == "refuses":
                    waiting.clear()
            reason = process.end()
            if process.finished or not waiting:
                traces += process.traces()
                return
            yield Outcome(images, waiting.pop(0), "fail", reason)


def _settings(description: Description, preset: str, images: str) -> dict[str, Any]:
    """A preset's settings; batches are small, so that a few images make several steps."""
    settings = description.resolve(preset, SIZES[images], {})
    if isinstance(settings.get("batch_size"), int):
        settings["batch_size"] = min(BATCH_SIZE, settings["batch_size"])
    return settings


class _Process:
    """The process that runs some checks, in an empty folder and a process group of its own."""

    def __init__(self, folder: Path, job: Mapping[str, Any]) -> None:
        self.empty = folder / "empty"
        self.empty.mkdir()
        self.log = folder / "log.txt"
        self.finished = False
        self.late = False
        self.left: list[str] = []
        self.reading, writing = os.pipe()
        write_json(folder / "job.json", {**job, "answers": writing, "folder": str(folder / "checkpoints")})
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "bench.plugins.conformance_process", str(folder / "job.json")],
                cwd=self.empty,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(),
                pass_fds=[writing],
                start_new_session=True,
            )
        os.close(writing)

    def answers(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Each check's name with its `status` and `reason`, as they come."""
        rest = b""
        while select.select([self.reading], [], [], CHECK_SECONDS)[0]:
            piece = os.read(self.reading, 65536)
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                # Whoever else holds the pipe open would keep us waiting for its end.
                if answer is None:
                    self.finished = True
                    return
                yield answer.pop("check"), answer
        self.late = True

    def end(self) -> str:
        """End what still runs, and say why the process ended before it was done."""
        os.close(self.reading)
        if self.finished:
            try:
                self.process.wait(ENDING_SECONDS * 10)
                self.left = self._left_behind()
            except subprocess.TimeoutExpired:
                self.left = ["left a thread running, which keeps its process from ending"]
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        if self.late:
            return f"it did not end within {CHECK_SECONDS:g} seconds"
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        return " ".join([f"its process ended ({how})", *last])

    def traces(self) -> list[str]:
        """The files and processes that it left behind."""
        files = sorted(str(path.relative_to(self.empty)) for path in self.empty.rglob("*"))
        named = [f"left {', '.join(files[:3])} in the current folder"] if files else []
        return [*named, *self.left]

    def _left_behind(self) -> list[str]:
        until = time.monotonic() + ENDING_SECONDS
        while time.monotonic() < until:
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return []
            time.sleep(0.05)
        return ["left a process running"]


def _environment() -> dict[str, str]:
    """The caller's, with one thread a process and no bytecode beside the plugin."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(_absolute_path()),
    }


def _absolute_path() -> list[str]:
    """PYTHONPATH, with what is relative to the caller's folder spelled out."""
    given = os.environ.get("PYTHONPATH", "")
    return [str(Path(entry).absolute()) for entry in given.split(os.pathsep) if entry]
