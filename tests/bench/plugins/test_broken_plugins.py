"""Plugins that cannot be used: the error names the author's line, and no other plugin is disturbed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import psutil
import pytest

from bench.errors import BenchError
from bench.plugins import describe as describing
from bench.plugins.registry import Description, describe_all, find_methods
from tests.bench.command import wait_for
from tests.bench.installed import METHOD, bench, described, install, write

BROKEN = {
    "syntax": ("def fit(:\n", "SyntaxError"),
    "import": ("import not_installed_anywhere\n", "No module named 'not_installed_anywhere'"),
    "leaves": ("import os\nos._exit(4)\n", "ended the process .exit status 4."),
    "exits": ("raise SystemExit(4)\n", "SystemExit: 4"),
    "crashes": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "exit status -11"),
    "empty": ("", "defines exactly one Imputer; this one defines 0"),
    "two": (METHOD + METHOD.replace("Constant", "Other"), "this one defines 2"),
    "plain": (METHOD.replace("@dataclass\n", ""), "not a dataclass"),
    "abstract": (METHOD.replace("def impute", "def input"), "does not define impute"),
    "setting": (METHOD.replace("bold: bool = False", "bold: list = None"), "setting 'bold' must be int"),
    "no default": (METHOD.replace("value: float = 0.25", "value: float"), "setting 'value' must"),
    "not finite": (
        METHOD.replace("0.25", "float('inf')"),
        "the default of setting 'value' must be a finite number, not inf",
    ),
    "misnamed preset": (METHOD.replace('"smoke": {"value"', '"smoek": {"value"'), "did you mean 'smoke'"),
    "preset": (METHOD.replace('"smoke": {"value"', '"smoke": {"valeu"'), "'valeu', which is not a field"),
}


def test_a_broken_plugin_is_named_with_its_error_and_disturbs_no_other(tmp_path: Path) -> None:
    files = [write(tmp_path, code, name.replace(" ", "_")) for name, (code, _) in BROKEN.items()]
    good = write(tmp_path, METHOD, "good")
    methods = find_methods([*files, good])
    answers = describe_all(methods[path.stem] for path in [*files, good])
    assert isinstance(answers["good"], Description)
    for path, (_, error) in zip(files, BROKEN.values(), strict=True):
        with pytest.raises(
            BenchError, match=f"^the method '{path.stem}' cannot be loaded: .*{error}"
        ) as told:
            raise answers[path.stem]  # type: ignore[misc]
        assert str(path) in str(told.value) and "\n" not in str(told.value)
        # A line of the harness or of the standard library helps no author.
        lines = re.findall(r"\(line \d+ of (.+?)\)", str(told.value))
        assert lines in ([], [path.name])


def test_the_line_that_is_named_is_the_author_s(tmp_path: Path) -> None:
    code = "import json\n\ndef more():\n    json.loads('no JSON')\n\nmore()\n"
    wrong_mask = "import torch\nfrom bench.images import MaskedImages\nMaskedImages(torch.ones(1), None)\n"
    for name, text, line in (("late", code, 4), ("mask", wrong_mask, 3)):
        with pytest.raises(BenchError, match=rf"\(line {line} of {name}\.py\)"):
            described(write(tmp_path, text, name))


def test_no_line_is_named_where_a_module_is_missing(tmp_path: Path) -> None:
    install(tmp_path, "half", {"bench.methods": {"lost": "nowhere_at_all:Lost"}}, "")
    listed = bench(tmp_path, "methods", "lost")
    assert "ModuleNotFoundError: No module named 'nowhere_at_all' (nowhere_at_all:Lost" in listed.stdout


def test_an_import_that_stalls_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describing, "IMPORT_SECONDS", 2)
    stalls = write(tmp_path, "import time\ntime.sleep(600)\n", "stalls")
    assert describing.answer_apart("stalls", str(stalls)) == {
        "error": "its import did not end within 2 seconds"
    }


DAEMON = """
import subprocess, sys
daemon = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
open(FILE, "w").write(str(daemon.pid))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are known on Linux only")
def test_a_daemon_that_an_import_starts_does_not_outlive_the_description(tmp_path: Path) -> None:
    """Without our mark in its environment, and in a session of its own, it is known by its parents alone."""
    started = tmp_path / "started.txt"
    path = write(tmp_path, DAEMON.replace("FILE", repr(str(started))) + METHOD, "starting")
    assert isinstance(describe_all([find_methods([path])["starting"]])["starting"], Description)
    wait_for(lambda: not psutil.pid_exists(int(started.read_text())), 20)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("absent.py", "does not exist"),
        ("folder.py", "is not a Python file"),
        ("notes.txt", "is not a Python file"),
    ],
)
def test_a_plugin_that_is_no_python_file_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BenchError, match=f"{name} {why}"):
        find_methods([tmp_path / name])
