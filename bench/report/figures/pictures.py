"""Figures 2 to 5: imputed test images beside each other, with their error maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.report.figures.style import (
    TEXT_HEIGHT,
    TEXT_WIDTH,
    TYPE_SIZE,
    Drawn,
    long_settings,
    short_label,
    width_of,
    wrapped,
)
from bench.report.groups import Group
from bench.report.layout import Line
from bench.report.samples import RULE, Samples, SampleSet
from bench.util.text import file_name

MARGIN = 0.04
GAP = 0.03
GROUP_GAP = 0.14
SMALLEST_CELL, LARGEST_CELL = 0.1, 0.85
LINE_HEIGHT = 1.25 * TYPE_SIZE / 72
ERROR_COLOURS = "inferno"
GREY = 128
BRIGHTEST = 0.995


Picture = NDArray[np.generic] | None
"""(H, W, 3) uint8, or (H, W) floats on the error maps' scale, or None for an empty place."""


@dataclass
class Sheet:
    """Square pictures in rows and columns, with titles above the columns and labels left of the groups.

    Attributes:
        titles: one for each column.
        groups: each a label and rows; a row has one picture for each column.
    """

    titles: Sequence[str]
    groups: list[tuple[str, list[list[Picture]]]] = field(default_factory=list)

    def draw(self, brightest: float | None) -> Figure:
        """The figure, with a colour bar from 0 to `brightest` if that is given.

        Raises:
            BenchError: so many pictures do not fit on a page.
        """
        left = MARGIN + (1.5 * LINE_HEIGHT if any(label for label, _ in self.groups) else 0.0)
        gaps = GROUP_GAP * (len(self.groups) - 1)
        below = 5 * LINE_HEIGHT if brightest is not None else 0.0
        columns, rows = len(self.titles), sum(len(group) for _, group in self.groups)
        cell = min(
            LARGEST_CELL,
            (TEXT_WIDTH - left - MARGIN) / columns - GAP,
            (TEXT_HEIGHT - 0.6 - below - gaps) / rows - GAP,
        )
        if cell < SMALLEST_CELL:
            raise BenchError(
                f"{rows} rows of {columns} pictures do not fit on a page; "
                "give a smaller --count, or fewer --methods or --rates"
            )
        titles, turned = _fitted(self.titles, cell)
        _, right = _room(titles, turned, cell)
        # A slanted title sticks out at the right edge, so the pictures get less room.
        cell = min(cell, (TEXT_WIDTH - left - MARGIN - right) / columns - GAP)
        top, right = _room(titles, turned, cell)
        width = left + columns * (cell + GAP) + right + MARGIN
        # A colour bar and its label need some width, even if there are few columns.
        width = max(width, 2.2) if brightest is not None else width
        figure = Figure(figsize=(width, top + rows * (cell + GAP) + gaps + below + MARGIN))
        _write_titles(figure, titles, turned, top, left + cell / 2, cell + GAP)
        for label, group in self.groups:
            _draw_group(figure, group, brightest, left, top, cell)
            height = len(group) * (cell + GAP)
            middle = 1 - (top + (height - GAP) / 2) / figure.get_figheight()
            across = (MARGIN + LINE_HEIGHT / 2) / width
            figure.text(across, middle, label, rotation=90, ha="center", va="center")
            top += height + GROUP_GAP
        if brightest is not None:
            _colour_bar(figure, left, below, brightest)
        return figure


def _write_titles(
    figure: Figure, titles: Sequence[str], turned: bool, top: float, first: float, step: float
) -> None:
    width, height = figure.get_size_inches()
    y = 1 - (top - 0.04) / height
    for column, title in enumerate(titles):
        x = (first + column * step) / width
        if turned:
            figure.text(x, y, title, rotation=45, rotation_mode="anchor", ha="left", va="bottom")
        else:
            figure.text(x, y, title, ha="center", va="bottom")


def _draw_group(
    figure: Figure,
    group: Sequence[Sequence[Picture]],
    brightest: float | None,
    left: float,
    top: float,
    cell: float,
) -> None:
    for row, pictures in enumerate(group):
        for column, array in enumerate(pictures):
            if array is not None:
                box = (left + column * (cell + GAP), top + row * (cell + GAP), cell, cell)
                _picture(figure, box, array, brightest)


def _fitted(titles: Sequence[str], cell: float) -> tuple[list[str], bool]:
    """The titles in lines that fit above their columns, and whether they must be slanted instead."""
    found = [wrapped(title, cell) for title in titles]
    whole = all(text.split() == title.split() for text, title in zip(found, titles, strict=True))
    return (found, False) if whole else ([wrapped(title, 1.9) for title in titles], True)


def _room(titles: Sequence[str], turned: bool, cell: float) -> tuple[float, float]:
    """The inches that the titles take above the pictures, and right of the last picture."""
    tall = max(title.count("\n") + 1 for title in titles) * LINE_HEIGHT
    if not turned:
        return tall + 0.08, 0.0
    widths = [max(width_of(part) for part in title.split("\n")) for title in titles]
    slope = 0.5**0.5
    after = range(len(titles) - 1, -1, -1)
    beyond = [
        slope * wide + 0.12 - cell / 2 - columns * (cell + GAP)
        for wide, columns in zip(widths, after, strict=True)
    ]
    return slope * (max(widths) + tall) + 0.1, max(0.0, *beyond)


def _picture(
    figure: Figure,
    box: tuple[float, float, float, float],
    array: NDArray[np.generic],
    brightest: float | None,
) -> None:
    left, top, wide, high = box
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))
    axes.set_axis_off()
    if array.ndim == 3:
        axes.imshow(array, interpolation="nearest")
    else:
        axes.imshow(array, cmap=ERROR_COLOURS, vmin=0, vmax=brightest, interpolation="nearest")


def _colour_bar(figure: Figure, left: float, below: float, brightest: float) -> None:
    width, height = figure.get_size_inches()
    long = min(2.4, width - left - 0.3)
    box = ((left + 0.1) / width, (below - 0.2) / height, long / width, 0.09 / height)
    scale = ScalarMappable(Normalize(0, brightest), ERROR_COLOURS)
    bar = figure.colorbar(scale, cax=figure.add_axes(box), orientation="horizontal", extend="max")
    bar.set_label("squared error")
    bar.set_ticks([0, brightest / 2, brightest], labels=[f"{v:.2g}" for v in (0, brightest / 2, brightest)])


def with_errors(group: Group, sets: Sequence[SampleSet], images: Sequence[int], rule: bool) -> Drawn:
    """Figures 2 and 3: a group for each rate. At the left the observed image stands over the complete one.
    Then each method has a column with the imputed image over its squared errors.

    Args:
        sets: of one data set, one for each rate.
        images: positions among the stored images.
        rule: whether `RULE` chose the images, and not the user.
    """
    lines = _columns(sets)
    labels = [short_label(line, group) for line in lines]
    brightest = _brightest(sets, images)
    sheet = Sheet(["observed / complete", *labels])
    for one in sets:
        for image in images:
            made = [one.by_line.get(line) for line in lines]
            upper = [rgb(found.imputed[image]) if found else None for found in made]
            lower = [found.squared_errors(image) if found else None for found in made]
            rows: list[list[Picture]] = [
                [seen(one.truth, image), *upper],
                [rgb(one.truth.complete[image]), *lower],
            ]
            sheet.groups.append((f"{one.rate:.0%} missing", rows))
    rates = "-".join(f"{one.rate:g}" for one in sets)
    caption = (
        f"{_subject(group, sets)} At the left of each group, the observed image with its missing pixels grey "
        "stands over the complete image. Each method has a column: its imputed image over the squared errors "
        "(the mean over channels). All errors have one scale; "
        f"{1 - BRIGHTEST:.1%} of those shown are above its end. "
        f"{_choice(sets, images, rule)}{_absent(group, sets)}{_explained(group, sets)}"
    )
    return Drawn(file_name(f"errors-{sets[0].dataset}-{rates}"), sheet.draw(brightest), caption)


def side_by_side(group: Group, one: SampleSet, images: Sequence[int], rule: bool) -> Drawn:
    """Figures 4 and 5: a row for each image: complete, observed, and imputed by each method."""
    lines = list(one.by_line)
    sheet = Sheet(["complete", "observed", *(short_label(line, group) for line in lines)])
    rows: list[list[Picture]] = []
    for image in images:
        made = [rgb(one.by_line[line].imputed[image]) for line in lines]
        rows.append([rgb(one.truth.complete[image]), seen(one.truth, image), *made])
    sheet.groups.append(("", rows))
    caption = (
        f"{_subject(group, [one])} From left to right: the complete image, the observed image with its "
        "missing pixels grey, and the image as each method imputes it. "
        f"{_choice([one], images, rule)}{_absent(group, [one])}"
        f"{_explained(group, [one])}"
    )
    return Drawn(file_name(f"images-{one.dataset}-{one.rate:g}"), sheet.draw(None), caption)


def rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) of (C, H, W), C 1 or 3."""
    return np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)


def seen(samples: Samples, image: int) -> NDArray[np.uint8]:
    """(H, W, 3): an image with its missing pixels grey."""
    grey = np.uint8(GREY)
    return rgb(np.where(samples.observed[image], samples.complete[image], grey))


def _columns(sets: Sequence[SampleSet]) -> list[Line]:
    """The methods that have images at some rate, in the order of the tables."""
    return list(dict.fromkeys(line for one in sets for line in one.by_line))


def _brightest(sets: Sequence[SampleSet], images: Sequence[int]) -> float:
    errors = [
        samples.squared_errors(image).ravel()
        for one in sets
        for samples in one.by_line.values()
        for image in images
    ]
    return max(float(np.quantile(np.concatenate(errors), BRIGHTEST)), 1e-4)


def _subject(group: Group, sets: Sequence[SampleSet]) -> str:
    dataset = group.spelled("dataset", sets[0].dataset)
    rates = ", ".join(f"{one.rate:.0%}" for one in sets)
    where = f"{group.title[0].lower()}{group.title[1:]}, seed {sets[0].seed}"
    return f"Test images of {dataset} with {rates} of their pixels missing ({where})."


def _choice(sets: Sequence[SampleSet], images: Sequence[int], rule: bool) -> str:
    numbers = ", ".join(str(sets[0].truth.index[image]) for image in images)
    how = f"chosen by rule: {RULE}" if rule else "as asked for"
    return f"Test images {numbers}, {how}."


def _absent(group: Group, sets: Sequence[SampleSet]) -> str:
    rates: dict[tuple[str, str], list[str]] = {}
    for one in sets:
        for line, reason in one.without.items():
            rates.setdefault((reason, short_label(line, group)), []).append(f"{one.rate:.0%}")
    found: dict[str, list[str]] = {}
    for (reason, label), where in rates.items():
        found.setdefault(reason, []).append(f"{label} at {', '.join(where)}")
    told = [f"{', '.join(places)} ({reason})" for reason, places in found.items()]
    return f" These have no image: {'; '.join(told)}." if told else ""


def _explained(group: Group, sets: Sequence[SampleSet]) -> str:
    return long_settings(group, (line for one in sets for line in (*one.by_line, *one.without)))
