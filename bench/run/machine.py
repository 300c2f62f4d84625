"""Where and how cells run: what this machine computes with. torch is imported only when it must be asked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.util.hardware import multiplies_bfloat16


@dataclass(frozen=True)
class Machine:
    """Where and how a cell runs.

    Attributes:
        device: "cpu", "cuda", ...
        threads: CPU threads of the cell.
        precision: "float32" or "bfloat16"; "auto" is settled where the cell runs.
        data_dir: the folder in which data sets are looked for first.
        timeout: seconds that a fit may take; None for no limit.
        memory: GB that the method's processes may hold together; None for no limit.
        gpu: the one GPU that the cell sees, as CUDA_VISIBLE_DEVICES names it; None for all that we see.
    """

    device: str
    threads: int
    precision: str
    data_dir: Path | None = None
    timeout: float | None = None
    memory: float | None = None
    gpu: str | None = None


def settle_device(device: str) -> str:
    """The device that "auto" stands for here, or the one given. No GPU is occupied by asking.

    Raises:
        BenchError: there is no such device here.
    """
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
        if wanted.type != "cuda":
            torch.empty(1, device=wanted)
        elif not torch.cuda.is_available():
            raise RuntimeError("torch finds no GPU that it can use")
        elif wanted.index is not None and wanted.index >= torch.cuda.device_count():
            raise RuntimeError(f"there are {torch.cuda.device_count()} GPUs, counted from 0")
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BenchError(f"device {device!r} cannot be used here ({reason}); try --device cpu") from None
    return device


def machine_for(
    device: str,
    precision: str,
    threads: int | None,
    data_dir: Path | None,
    timeout: float | None,
    memory: float | None = None,
    jobs: int = 1,
) -> Machine:
    """Settle what the command line left to the machine; jobs that run at a time share its cores.

    The precision "auto" stays: what it stands for depends on the method too.

    Raises:
        BenchError: there is no such device here.
    """
    device = settle_device(device)
    return Machine(device, threads or max(1, cores() // jobs), precision, data_dir, timeout, memory)


def settle_precision(precision: str, device: str, bfloat16: bool) -> str:
    """The precision that "auto" stands for on a device of this machine, or the one given.

    Args:
        bfloat16: whether the method is as good in bfloat16 (`bench.imputer.Imputer.bfloat16`).
    """
    if precision != "auto":
        return precision
    return "bfloat16" if bfloat16 and has_fast_bfloat16(device) else "float32"


def gpus_of(device: str) -> list[str]:
    """The GPUs that a device stands for, as CUDA_VISIBLE_DEVICES names them; an empty list for the CPU."""
    if not device.startswith("cuda"):
        return []
    import torch

    wanted = torch.device(device)
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    seen = [name.strip() for name in named.split(",") if name.strip()]
    # CUDA stops counting at the first name that it does not know.
    seen = seen[: torch.cuda.device_count()] or [str(number) for number in range(torch.cuda.device_count())]
    return seen if wanted.index is None else [seen[wanted.index]]


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_fast_bfloat16(device: str) -> bool:
    """Whether products are faster in bfloat16 than in float32: the GPU or the CPU multiplies it natively."""
    if device.startswith("cuda"):
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and multiplies_bfloat16()
