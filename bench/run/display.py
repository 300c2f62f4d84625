"""What is seen while cells run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from bench.run import events
from bench.util.text import clean

PLAIN_SECONDS = 15.0


class _Console(Console):
    """A console whose reader may go away: the run goes on without a word."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class Display:
    """Shows where a run stands. A line that cannot be shown is left out: the run goes on.

    Args:
        cells: how many cells there are.
        console: where to write.
    """

    def __init__(self, cells: int, console: Console | None = None) -> None:
        self.cells = cells
        self.console = console or _Console(
            file=sys.stderr,
            # If this is left open, FORCE_COLOR fills logs with sequences for a terminal.
            force_terminal=sys.stderr.isatty(),
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
        self._bar = Progress(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[where]}", markup=False, table_column=Column(no_wrap=True)),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            expand=True,
        )

    @contextmanager
    def cell(self, number: int, title: str, again: bool = False) -> Iterator[CellDisplay]:
        """Show one cell until the block ends. Several cells may be shown at a time.

        Args:
            number: which of the cells it is, from 1.
            again: whether it was shown before, so that no line tells that it started.
        """
        heading = f"[{number}/{self.cells}] {title}"
        if not self.console.is_terminal:
            if not again:
                self.line(f"{heading}: started")
            yield CellDisplay(self, heading, None)
            return
        task = None
        with suppress(Exception):
            if not self._bar.tasks:
                self._bar.start()
            task = self._bar.add_task(heading, total=None, where="starting")
        try:
            yield CellDisplay(self, heading, task)
        finally:
            with suppress(Exception):
                if task is not None:
                    self._bar.remove_task(task)
                if not self._bar.tasks:
                    self._bar.stop()

    def line(self, text: str) -> None:
        """Print one line that stays."""
        # The line may hold what a plugin says of its failure.
        with suppress(Exception):
            self.console.print(clean(text))


class CellDisplay:
    """Shows what a cell tells, now and then."""

    def __init__(self, display: Display, heading: str, task: Any) -> None:
        self.display = display
        self.heading = heading
        self.task = task
        self._first: tuple[float, int] | None = None
        self._shown = time.monotonic()

    def __call__(self, event: events.News) -> None:
        with suppress(Exception):
            if isinstance(event, events.Progress):
                self._show(event)
            elif self.task is not None:
                self.display._bar.update(self.task, completed=0, total=None, where=event.name)

    def _show(self, progress: events.Progress) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now, progress.step
        since, start = self._first
        speed = max(0.0, (progress.step - start) / (now - since)) if now > since else 0.0
        losses = [f"{clean(name)} {value:.4g}" for name, value in progress.losses.items()]
        known = [f"{speed:.1f} steps/s"] if speed else []
        where = ", ".join([f"epoch {progress.epoch}/{progress.epochs}", *losses, *known])
        if self.task is not None:
            total = progress.steps or None
            self.display._bar.update(self.task, completed=progress.step, total=total, where=where)
        elif now - self._shown >= PLAIN_SECONDS:
            self._shown = now
            seconds = max(0, progress.steps - progress.step) / speed if speed else 0
            left = f", {seconds:.0f} s left" if seconds else ""
            self.display.line(f"{self.heading}: {where}{left}")
