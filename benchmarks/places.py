"""Where a benchmark runs: on how many CPU threads, or on a GPU."""

from __future__ import annotations

import resource
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from bench.imputer import FitContext


@dataclass(frozen=True)
class Place:
    """A device, and the threads of the processes that use it.

    Attributes:
        threads: CPU threads.
        device: as PyTorch names it: "cpu", "cuda".
    """

    threads: int
    device: str = "cpu"

    def settle(self) -> None:
        """Prepare this process: its threads, a fixed seed, and a GPU's count of memory."""
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        if self.device != "cpu":
            torch.cuda.reset_peak_memory_stats()

    def context(self, precision: str) -> FitContext:
        """What a fit here gets."""
        return FitContext(device=torch.device(self.device), precision=precision)

    def default(self) -> AbstractContextManager[object]:
        """Inside, what names no device is made on this one."""
        return torch.device(self.device)

    def clock(self) -> float:
        """Seconds, read when all that was asked of the device is done."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def peak_memory(self) -> float:
        """The most bytes that this process has held, or on a GPU the most that PyTorch has held there."""
        if self.device != "cpu":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
