"""The command line in a folder of its own, with methods that the tests write."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main

TRAIN, TEST = 150, 60
"""How many images a small run takes. So few test images allow no FID, since LeNet has 84 features. That
spares each cell two seconds of imports. A test that needs an FID asks for more images."""

CONSTANT = '''
"""A plugin for the tests."""
import os, signal, sys, time
from dataclasses import dataclass
import torch
from bench.imputer import Imputer

@dataclass
class Constant(Imputer):
    """Every missing pixel takes one value."""
    value: float = 0.25

    def fit(self, train, context):
        context.facts["steps"] = 7
        FIT

    def impute(self, images):
        return torch.full(images.pixels.shape, self.value)
'''

WALK = '''
"""A fit of many small steps, each of which matters to the end, with a checkpoint after each."""
import time
from dataclasses import dataclass
import torch
from bench.imputer import Imputer, Interrupted

@dataclass
class Walk(Imputer):
    """Pixel means that a random walk has moved."""
    steps: int = 40
    seconds: float = 2.0

    def fit(self, train, context):
        generator = context.generator("walk", "cpu")
        self.place, step = train.values.mean(dim=0), 0
        saved = context.checkpoints.load()
        if saved is not None:
            self.place, step = saved["place"], saved["step"]
            generator.set_state(saved["generator"])
        while step < self.steps:
            noise = torch.randn(self.place.shape, generator=generator)
            self.place = (0.9 * self.place + 0.1 * noise).sigmoid()
            step += 1
            state = {"place": self.place, "step": step, "generator": generator.get_state()}
            context.checkpoints.save(state)
            if context.stop_requested():
                raise Interrupted(f"stopped at step {step}")
            time.sleep(self.seconds / self.steps)
        context.facts["steps"] = step

    def impute(self, images):
        return self.place.expand(images.pixels.shape).clone()
'''


class Bench:
    """The command line in a folder of its own.

    Args:
        folder: where it is called; plugins are the Python files in it.
        cache: of posed problems.
    """

    def __init__(self, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.environment = {"BENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        monkeypatch.delenv("BENCH_DATA", raising=False)

    def plugin(self, fit: str = "pass", name: str = "constant") -> None:
        """Write a method whose fit is some code."""
        (self.folder / f"{name}.py").write_text(CONSTANT.replace("FIT", fit.replace("\n", "\n        ")))

    def walk(self) -> None:
        """Write a method `walk` that keeps checkpoints."""
        (self.folder / "walk.py").write_text(WALK)

    def command(self, *arguments: str) -> list[str]:
        """`bench run` as a process is started with it."""
        call = "import sys; from bench.cli import main; main(sys.argv[1:])"
        return [sys.executable, "-c", call, "run", *self.all_of(arguments)]

    def run(self, *arguments: str) -> tuple[int, str]:
        """`bench run` in this process: the exit status, and all that was printed."""
        return self.call("run", *self.all_of(arguments))

    def call(self, *arguments: str) -> tuple[int, str]:
        """Any command in this process: the exit status, and all that was printed."""
        self.monkeypatch.chdir(self.folder)
        for name, value in self.environment.items():
            self.monkeypatch.setenv(name, value)
        output = io.StringIO()
        with (
            contextlib.redirect_stderr(output),
            contextlib.redirect_stdout(output),
            pytest.raises(SystemExit) as left,
        ):
            main([*arguments])
        return int(left.value.code or 0), output.getvalue()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `bench run` in a process of its own, which can be killed."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def all_of(self, arguments: tuple[str, ...]) -> list[str]:
        """The given arguments, and those that keep the run small."""
        base = ["--dataset=mnist", f"--train={TRAIN}", f"--test={TEST}", "--threads=1", "--device=cpu"]
        plugins = [f"--plugin={path}" for path in sorted(self.folder.glob("*.py"))]
        given = [*arguments] if "--methods" in arguments else ["--methods", "constant", *arguments]
        rates = [] if "--rates" in arguments else ["--rates", "0.8"]
        return [*base, *plugins, *rates, *given]

    def results(self) -> list[dict[str, Any]]:
        """Every stored result, in the order of the paths."""
        paths = sorted((self.folder / "results" / "runs").rglob("result.json"))
        return [json.loads(path.read_text()) for path in paths]

    def by_method(self) -> dict[str, dict[str, Any]]:
        """Every stored result by its method."""
        return {result["cell"]["method"]: result for result in self.results()}

    def cell(self, method: str = "") -> Path:
        """The folder of the one cell there is, or of a method's."""
        (path,) = (self.folder / "results" / "runs").rglob(f"{method}*/seed-0")
        return path


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> None:
    """Wait until it is true. Raises AssertionError if that takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)
