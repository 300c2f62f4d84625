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
from tests.plugin_files import code_of

TRAIN, TEST = 150, 60
"""How many images a small run takes. So few test images allow no FID, since LeNet has 84 features. That
spares each cell two seconds of imports. A test that needs an FID asks for more images."""


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
        (self.folder / f"{name}.py").write_text(code_of("constant", fit=fit))

    def walk(self) -> None:
        """Write a method `walk` that keeps checkpoints."""
        (self.folder / "walk.py").write_text(code_of("walk"))

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
