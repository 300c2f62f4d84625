"""What the method's process tells the C library about memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest
import torch

from bench.run.method_process import peak_memory_mb

FAULTS = """
import resource, torch
from bench.run.method_process import keep_freed_memory
{keep}
def step():
    a = torch.ones(12, 2**20)
    b = a + a
for _ in range(20):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_a_step_takes_the_memory_that_the_last_one_freed() -> None:
    def faults(keep: str) -> int:
        code = FAULTS.format(keep=keep)
        return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)

    pages = 10 * 2 * 48 * 2**20 // 4096
    assert faults("") > pages / 2
    assert faults("keep_freed_memory()") < pages / 50


@pytest.mark.parametrize(("system", "megabytes"), [("darwin", 5.0), ("linux", 5120.0)])
def test_the_peak_of_memory_is_in_the_unit_of_the_system(
    system: str, megabytes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """getrusage(2): "in bytes" on macOS, "in kilobytes" on Linux."""

    class Usage:
        ru_maxrss = 5_000_000

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(resource, "getrusage", lambda _: Usage)
    assert peak_memory_mb(torch.device("cpu")) == megabytes
