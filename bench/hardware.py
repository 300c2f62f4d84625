"""What this machine computes with."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from bench.errors import BenchError
from bench.worker import Machine


def machine_for(
    device: str, precision: str, threads: int | None, data_dir: Path | None, timeout: float | None
) -> Machine:
    """Settle what the command line left to the machine.

    Raises:
        BenchError: there is no such device here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BenchError(f"device {device!r} cannot be used here ({reason}); try --device cpu") from None
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16(device) else "float32"
    return Machine(device, threads or len(os.sched_getaffinity(0)), precision, data_dir, timeout)


def has_fast_bfloat16(device: str) -> bool:
    """Whether bfloat16 products are the faster ones: on GPUs that know them, on CPUs with AMX."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        try:
            return " amx_bf16 " in f"{Path('/proc/cpuinfo').read_text()} ".replace("\n", " ")
        except OSError:
            return False
    return False
