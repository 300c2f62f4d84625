"""A training step that a GPU replays.

Starting the kernels of a step of many small products takes the processor longer than computing them takes the
GPU. So the step is recorded as a CUDA graph, once, and then started by one call (PyTorch, "CUDA semantics").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

STEPS_FIRST = 3
"""So many steps are taken one by one before they are recorded: libraries and optimisers allocate in them."""


class Recorded:
    """A step, recorded on a GPU, and called as it is elsewhere.

    The step must not wait for the GPU, and must draw no random numbers. It reads and writes the same memory
    each time, except for the rows, which are copied in.

    Args:
        step: takes rows, (B,) int64, always of one size; gives its losses.
        optimisers: those that step within it.
    """

    def __init__(
        self, step: Callable[[Tensor], Mapping[str, Tensor]], optimisers: Sequence[torch.optim.Optimizer]
    ) -> None:
        self._step = step
        self._optimisers = optimisers
        self.forget()

    def forget(self) -> None:
        """Record anew, after something in the step has moved to other memory."""
        self._first = STEPS_FIRST
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, rows: Tensor) -> Mapping[str, Tensor]:
        """The step's losses; on a GPU the next call overwrites them."""
        if self._first:
            self._first -= 1
            self._prepare_optimisers(rows.device)
            return self._step(rows)
        if not rows.is_cuda:
            return self._step(rows)
        if self._graph is None:
            self._rows = rows.clone()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._losses = self._step(self._rows)
        self._rows.copy_(rows)
        self._graph.replay()
        return self._losses

    def _prepare_optimisers(self, device: torch.device) -> None:
        """A recorded step reads the rate where it lies. A checkpoint may come from another device."""
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["capturable"] = device.type == "cuda"
                if device.type == "cuda":
                    group["lr"] = torch.as_tensor(group["lr"], device=device)
                else:
                    group["lr"] = float(group["lr"])
