"""How every command starts: what it imports, and where it does not run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import COMMANDS, NOT_SUPPORTED, main
from tests.bench.report.stored import result, store

ON_WINDOWS = """
import sys
for name in ("fcntl", "resource", "termios"):
    sys.modules[name] = None
from bench.cli import main
# Only now: Python's own modules ask for it too when they are imported.
sys.platform = "win32"
main(sys.argv[1:])
"""


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], *([name] for name in COMMANDS)])
def test_on_windows_every_command_is_refused_in_one_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr() == ("", f"error: {NOT_SUPPORTED}\n")


def test_the_refusal_needs_no_module_that_windows_lacks() -> None:
    command = [sys.executable, "-c", ON_WINDOWS, "status"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {NOT_SUPPORTED}\n")


CALL = """
import sys
from bench.cli import main
try:
    main(sys.argv[1:])
except SystemExit as left:
    assert left.code in (0, 1, None), left.code
assert "pandas" not in sys.modules
"""


@pytest.mark.parametrize("command", ["--help", "methods --help", "status", "show", "table --help"])
def test_what_makes_no_table_imports_no_pandas(tmp_path: Path, command: str) -> None:
    arguments = command.split()
    if command in ("status", "show"):
        arguments += ["--results", str(store(tmp_path, result("prflow")))]
    if command == "show":
        arguments.append("mnist/pixel-0.8/prflow@-quick/seed-0")
    done = subprocess.run(
        [sys.executable, "-c", CALL, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
