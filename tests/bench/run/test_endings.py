"""However a cell ends, it becomes a row, nothing of it stays behind, and the others go on."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from bench.util.failures import failure
from bench.util.files import CappedLog
from bench.util.process_tree import held_bytes, resident_bytes
from tests.bench.command import Bench
from tests.bench.installed import install

DAEMON = """
import subprocess
code = "import os, time; open('left.txt', 'w').write(str(os.getpid())); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", code], env={}, start_new_session=True)
while not os.path.exists("left.txt"):
    time.sleep(0.05)
if os.fork() == 0:
    open("forked.txt", "w").write(str(os.getpid()))
    time.sleep(600)
"""

THREAD = """
import threading
threading.Thread(target=time.sleep, args=[600]).start()
"""

FORGED = """
import json
outcome = {"kind": "outcome", "status": "ok", "fit": {}, "cell": {"method": "prflow"}}
for name in os.listdir("/proc/self/fd"):
    try:
        if os.readlink(f"/proc/self/fd/{name}").startswith("pipe:") and int(name) > 2:
            os.write(int(name), json.dumps(outcome).encode() + b"\\n")
    except OSError:
        pass
time.sleep(600)
"""

COUNTING = """
from bench.imputer import Progress
context.report(Progress(epoch=-1, epochs=10**400, step=3, steps=10**400, losses={"J": 10**400, "K": None}))
time.sleep(1)
"""

SLY = """
class Sly(torch.Tensor):
    def isfinite(self):
        return torch.ones(1, dtype=torch.bool)
def impute(images):
    found = torch.full(images.pixels.shape, 0.5)
    found[3, 0, 5:9] = float("nan")
    return found.as_subclass(Sly)
self.impute = impute
"""

GROWING = """
held = []
for _ in range(400):
    held.append(torch.ones(5_000_000))
    time.sleep(0.02)
"""

SPREAD = """
import subprocess
grow = "import time; held = bytearray(b'1') * 400_000_000; time.sleep(600)"
for _ in range(3):
    subprocess.Popen([sys.executable, "-c", grow])
time.sleep(600)
"""

ENDS: dict[str, tuple[str, str, str, str]] = {
    "raises": ("raise RuntimeError('no luck')", "failed", "RuntimeError: no luck", "in fit"),
    "hungry": ("raise MemoryError", "out-of-memory", "MemoryError", "in fit"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "failed", "killed by signal 9 (SIGKILL)", ""),
    "undefined": ("self.value = float('nan')", "failed", "impute returned NaN or infinite values", ""),
    "outside": ("self.value = 1.5", "failed", "impute returned values in [1.5, 1.5]", ""),
    "segfault": ("import ctypes; ctypes.string_at(0)", "failed", "killed by signal 11 (SIGSEGV)", "in fit"),
    "leaves": ("os._exit(7)", "failed", "it left with exit status 7", ""),
    "unscored": (
        "self.value = 0.9",
        "failed",
        "the cell's process ended without a result (it left with exit status 5)",
        "",
    ),
    "exits": ("sys.exit('enough')", "failed", "SystemExit: enough", "in fit"),
    "hangs": ("time.sleep(600)", "timeout", "did not stop at its deadline", "in fit"),
    "talks": (
        "for n in range(400_000): print(n, 'x' * 90)\nraise OSError('tired')",
        "failed",
        "OSError: tired",
        "in fit",
    ),
    "huge": ("torch.ones(10 ** 12)", "out-of-memory", "can't allocate memory", "in fit"),
    "grows": (GROWING, "out-of-memory", "", ""),
    "spreads": (SPREAD, "out-of-memory", "--memory allows 0.7", ""),
    "daemon": (DAEMON, "ok", "", ""),
    "thread": (THREAD, "ok", "", ""),
    "forges": (FORGED, "failed", "sent something that is not an event: outcome.cell: Extra inputs", ""),
    "counts": (COUNTING, "ok", "", ""),
    "facts": ("context.facts.update(steps='many', best=float('nan'), model=torch.nn.ReLU())", "ok", "", ""),
}


METRICS = """
import os
def leaves(scoring):
    if scoring.imputed.mean() > 0.5:
        os._exit(5)
    return {"value": 1.0}
"""
"""A metric that does not survive the method `unscored`."""


def alive(file: Path) -> bool:
    """Whether the process whose number is in the file runs."""
    number = int(file.read_text())
    return bool(psutil.pid_exists(number)) and bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, int, str]]:
    """One grid of methods that each end otherwise, run once."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        bench = Bench(tmp_path_factory.mktemp("ends"), tmp_path_factory.mktemp("cache"), monkeypatch)
        packages = tmp_path_factory.mktemp("packages")
        install(packages, "leaving", {"bench.metrics": {"leaves": "leaving:leaves"}}, METRICS)
        monkeypatch.syspath_prepend(packages)
        bench.environment["PYTHONPATH"] = str(packages)
        for name, (fit, *_) in ENDS.items():
            bench.plugin(fit.strip(), name)
        methods = ",".join(ENDS)
        code, output = bench.run("--methods", methods, "--timeout", "10", "--memory", "0.7", "--jobs", "2")
        yield bench, code, output


@pytest.mark.parametrize("name", ENDS)
def test_each_end_is_a_row(ended: tuple[Bench, int, str], name: str) -> None:
    bench, code, output = ended
    assert code == 1, output
    _, status, error, trace = ENDS[name]
    result = bench.by_method()[name]
    assert result["status"] == status, result
    assert error in result.get("error", "")
    assert trace in result.get("traceback", "")
    assert ("metrics" in result) == (status == "ok")
    if status == "ok":
        assert result["metrics"]["leaves"]["value"] == 1.0


def test_what_a_method_leaves_behind_is_ended(ended: tuple[Bench, int, str]) -> None:
    """One of the two has an empty environment and a session of its own, the other is a plain fork."""
    bench, _, _ = ended
    assert bench.by_method()["daemon"]["processes_ended"] == 2
    assert not alive(bench.folder / "left.txt")
    assert not alive(bench.folder / "forked.txt")


def test_a_talkative_method_s_log_keeps_its_beginning_and_its_end(ended: tuple[Bench, int, str]) -> None:
    log = ended[0].cell("talks") / "log.txt"
    text = log.read_text()
    assert log.stat().st_size < 1_100_000
    assert text.startswith("0 xxx") and "OSError: tired" in text[-500:]
    assert "bytes left out" in text


def test_facts_that_no_json_can_hold_do_not_cost_the_fit(ended: tuple[Bench, int, str]) -> None:
    result = ended[0].by_method()["facts"]
    assert result["cost"]["steps"] == 0
    assert result["fit"] == {"best": None, "model": "ReLU()"}


def test_an_imputation_that_takes_too_long_is_told_from_a_fit_that_does(bench: Bench) -> None:
    bench.plugin(
        "self.impute = lambda images: time.sleep(600)\nwhile not context.out_of_time: time.sleep(0.1)"
    )
    assert bench.run("--timeout", "2")[0] == 1
    (result,) = bench.results()
    assert result["status"] == "timeout"
    told = re.fullmatch(
        r"its fit ended after (.*) s; its imputation did not end within (.*) s after that and was ended",
        result["error"],
    )
    assert told is not None, result["error"]
    # Two seconds for the fit, and five for the imputation.
    fit, imputation = map(float, told.groups())
    assert 2 <= fit < 4 and 3 < imputation < 8


def test_a_method_that_stops_its_cell_is_ended_at_its_deadline(bench: Bench) -> None:
    bench.monkeypatch.setattr("bench.run.watching.ANSWER_SECONDS", 0.0)
    bench.monkeypatch.setattr("bench.run.watching.grace", lambda timeout: 1.0)
    bench.plugin("import signal; os.kill(os.getppid(), signal.SIGSTOP); time.sleep(600)")
    assert bench.run("--timeout", "1")[0] == 1
    (result,) = bench.results()
    assert result["status"] == "timeout"
    assert "did not end its method in time" in result["error"]


def test_a_scoring_that_takes_too_long_says_what_helps(bench: Bench, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    code = "def slow(scoring):\n    import time\n    time.sleep(600)\n"
    install(packages, "slowness", {"bench.metrics": {"slow": "slowness:slow"}}, code)
    bench.monkeypatch.syspath_prepend(packages)
    bench.environment["PYTHONPATH"] = str(packages)
    bench.monkeypatch.setattr("bench.run.watching.SCORING_SECONDS", 0.1)
    bench.plugin()
    assert bench.run("--timeout", "4")[0] == 1
    (result,) = bench.results()
    assert result["status"] == "timeout"
    assert result["error"] == (
        "scoring did not end within 4 s and was ended; `bench prepare --dataset mnist` gets the judge ready "
        "ahead of time, and a --timeout above 4 allows it more"
    )


def test_nan_that_slips_past_the_check_fails_its_own_cell(bench: Bench) -> None:
    bench.plugin(SLY.strip(), "sly")
    bench.plugin()
    status, output = bench.run("--methods", "sly,constant")
    assert status == 1 and "JSON" not in output
    results = bench.by_method()
    assert results["sly"]["status"] == "failed" and len(results["sly"]["key"]) > 10
    assert results["sly"]["error"] == "scoring: BenchError: the imputation holds NaN or infinite values"
    assert results["constant"]["status"] == "ok"


def test_failures_are_kept_and_rerun_failed_tries_just_those(bench: Bench) -> None:
    count = "open('NAME.txt', 'a').write('x')"
    bench.plugin(count.replace("NAME", "sound"), "sound")
    bench.plugin(count.replace("NAME", "poor") + "\nassert os.path.exists('luck.txt'), 'no luck'", "poor")
    both = ["--methods", "sound,poor"]

    def tried() -> list[int]:
        return [len((bench.folder / f"{name}.txt").read_text()) for name in ("sound", "poor")]

    assert bench.run(*both)[0] == 1
    status, output = bench.run(*both)
    assert status == 1 and tried() == [1, 1]
    assert "AssertionError: no luck (before; --rerun failed tries it again)" in output
    (bench.folder / "luck.txt").touch()
    assert bench.run(*both, "--rerun", "failed")[0] == 0
    assert tried() == [1, 2]


def test_a_log_keeps_both_ends_by_hand(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", 30)
    pieces = [b"%d23456789" % number for number in range(10)]
    for piece in pieces:
        log.write(piece)
    log.close()
    whole = b"".join(pieces)
    assert len(whole) == 90
    kept = whole[:20] + b"\n... 60 bytes left out ...\n" + whole[-10:]
    assert (tmp_path / "log").read_bytes() == kept


def test_what_is_not_too_long_is_kept_whole(tmp_path: Path) -> None:
    for turn in (b"first\n", b"second\n"):
        log = CappedLog(tmp_path / "log", 60)
        log.write(turn * 2)
        log.close()
    assert (tmp_path / "log").read_bytes() == b"first\nfirst\nsecond\nsecond\n"


def test_the_memory_of_a_tree_is_counted_once() -> None:
    """A fork shares its parent's pages; what both hold is theirs together, not twice."""
    code = (
        "import os, time; held = bytearray(b'1') * 100_000_000; os.fork();"
        "os.write(1, b'ready\\n'); time.sleep(60)"
    )
    before = held_bytes()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [b"ready\n"] * 2
        held = held_bytes() - before
        assert 1.0e8 < held < 1.4e8
        assert resident_bytes() > 2.0e8
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out-of-memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "out-of-memory"),
        (MemoryError(), "out-of-memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out-of-memory"),
        (raised_from(RuntimeError("epoch 3"), torch.OutOfMemoryError("CUDA out of memory")), "out-of-memory"),
        (raised_from(RuntimeError("epoch 3"), ValueError("shapes")), "failed"),
        (RuntimeError("shapes do not match"), "failed"),
        (ValueError("the string 'out of memory' is no colour"), "failed"),
    ],
)
def test_want_of_memory_is_told_from_other_failures(error: Exception, expected: str) -> None:
    assert failure(error)["status"] == expected


def test_an_endless_error_is_cut() -> None:
    found = failure(ValueError("a\nb" * 1_000_000))
    assert len(found["error"]) == 500 and "\n" not in found["error"]
    assert len(found["traceback"]) == 20_000
