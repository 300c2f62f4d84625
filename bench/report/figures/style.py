"""How all figures look: type, marks, and colours that colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from bench.report.groups import Group
from bench.report.layout import LONGEST_SETTINGS, Line
from bench.report.looks import Look

TEXT_WIDTH = 7.0
TEXT_HEIGHT = 9.2
"""Inches of a page that a figure may fill."""
TYPE_SIZE = 7.0

# Okabe and Ito, 2008, without the yellow, which can hardly be seen on white paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P")

SETTINGS: dict[Any, Any] = {
    "font.size": TYPE_SIZE,
    "axes.titlesize": TYPE_SIZE,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.0,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "savefig.dpi": 220,
    # A dollar sign in a name is no formula.
    "text.parse_math": False,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Drawn:
    """A figure, the name of its files, and its caption."""

    name: str
    figure: Figure
    caption: str


def drawn_as(look: Look) -> dict[str, Any]:
    """A method's look as matplotlib takes it."""
    return {"color": COLOURS[look.colour], "marker": MARKS[look.mark], "linestyle": look.dashes}


def short_label(line: Line, group: Group) -> str:
    """The method as figures name it. A number stands for long settings; `long_settings` explains it."""
    number = _numbers(group).get(line.settings)
    return line.label(group) if number is None else f"{group.spelled('method', line.method)} [{number}]"


def long_settings(group: Group, lines: Iterable[Line]) -> str:
    """Sentences for a caption that explain the numbers of long settings; "" if no line has such settings."""
    drawn = {line.settings for line in lines}
    numbers = _numbers(group).items()
    return "".join(f" [{number}]: {settings}." for settings, number in numbers if settings in drawn)


def _numbers(group: Group) -> dict[str, int]:
    every = {result.settings_label for result in group.results}
    long = sorted(settings for settings in every if len(settings) > LONGEST_SETTINGS)
    return {settings: number for number, settings in enumerate(long, 1)}


@contextmanager
def styled() -> Iterator[None]:
    """Gives these settings to the figures that are made and saved inside."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **SETTINGS}):
        yield


def wrapped(text: str, width: float) -> str:
    """A label broken into lines of at most `width` inches; a wider word is broken too."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width_of(longer) <= width:
            lines[-1] = longer
            continue
        lines += [word] if lines[-1] else []
        lines[-1] = lines[-1] or word
        while width_of(lines[-1]) > width and len(lines[-1]) > 1:
            fits = next(
                (at for at in range(len(lines[-1]) - 1, 1, -1) if width_of(lines[-1][:at]) <= width), 1
            )
            lines[-1:] = [lines[-1][:fits], lines[-1][fits:]]
    return "\n".join(lines)


@lru_cache(maxsize=4096)
def width_of(text: str, size: float = TYPE_SIZE) -> float:
    """The width of a line of text, in inches."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(width) / 72


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a grid of axes, placed so that no labels overlap."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False)]


def legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend for all axes, below them, in as many columns as fit."""
    entries: dict[Any, Any] = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    labels = [wrapped(label, 2.6) for label in entries]
    widest = max((width_of(part) for label in labels for part in label.split("\n")), default=0.0)
    columns = max(1, min(len(labels), int(figure.get_figwidth() / (widest + 0.45))))
    if labels:
        figure.legend([*entries.values()], labels, loc="outside lower center", ncols=columns)


def no_panel(axes: Axes, why: str) -> None:
    """Write in place of a panel why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, wrapped(why, 1.9), ha="center", va="center", transform=axes.transAxes)


def save(drawn: Drawn, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure in each format, and its caption as text. Returns the files. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in formats:
        path = folder / f"{drawn.name}.{kind}"
        # Without a date, the same results always give the same file.
        metadata = {"CreationDate": None} if kind == "pdf" else {"Description": drawn.caption}
        drawn.figure.savefig(path, metadata=metadata)
        written.append(path)
    caption = folder / f"{drawn.name}.txt"
    caption.write_text(drawn.caption + "\n", encoding="utf-8")
    return [*written, caption]
