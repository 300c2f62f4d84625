"""Training curves for TensorBoard, if it is installed: one run a cell, written when the cell ends."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.store.results import losses_by_name


class EventFiles:
    """Writes the event files of cells.

    Args:
        folder: the results' root; a cell's events go to `tensorboard/` below it, under the cell's path.

    Raises:
        BenchError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise BenchError("--tensorboard needs TensorBoard; install it with: pip install tensorboard")
        self._folder = folder / "tensorboard"

    def write(self, cell: Path, result: Mapping[str, Any]) -> None:
        """Write a cell's losses by epoch under "loss/" and its scores under "score/"; remove earlier events.

        Args:
            cell: the cell's path below the results.
            result: as `result.json` holds it.
        """
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(self._folder / cell, ignore_errors=True)
        history = losses_by_name(result.get("fit", {}))
        scores = {name: metric["value"] for name, metric in result.get("metrics", {}).items()}
        if not history and not scores:
            return
        epochs = max((len(losses) for losses in history.values()), default=0)
        with SummaryWriter(str(self._folder / cell)) as writer:
            for name, losses in history.items():
                for epoch, loss in enumerate(losses, 1):
                    writer.add_scalar(f"loss/{name}", loss, epoch)
            for name, value in scores.items():
                if value is not None:
                    writer.add_scalar(f"score/{name}", value, epochs)
