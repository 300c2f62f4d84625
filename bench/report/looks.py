"""Each method's colour, mark and dashes: the same in every figure and on every page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from bench.report.groups import Group
from bench.report.layout import kinds_of
from bench.report.published import Published

COLOURS, MARKS = 7, 6
"""How many a figure and the page's style sheet have."""

Kind = tuple[str, str]
"""A method and its settings."""


@dataclass(frozen=True)
class Look:
    """How one method is drawn.

    Attributes:
        colour, mark: positions in the lists of whoever draws.
        dashes: "solid", or for a baseline "dashed" or "dotted".
    """

    colour: int
    mark: int
    dashes: str


# Methods of one colour lie far apart in what was measured, and differ in mark and dashes.
BUILT_IN = {
    "misgan": Look(0, 0, "solid"),
    "pbigan": Look(1, 1, "solid"),
    "mcflow": Look(2, 2, "solid"),
    "prflow": Look(3, 3, "solid"),
    "linear": Look(0, 4, "dashed"),
    "biharmonic": Look(1, 5, "dashed"),
    "knn": Look(2, 0, "dashed"),
    "gain": Look(3, 1, "dashed"),
    "miwae": Look(4, 2, "dashed"),
    "unet": Look(4, 3, "dotted"),
    "gaussian": Look(5, 4, "dashed"),
    "mean": Look(5, 0, "dotted"),
    "nearest": Look(6, 5, "dashed"),
}


def looks(group: Group, paper: Published) -> dict[Kind, Look]:
    """A look for each method and its settings, in the tables' order.

    A built-in method's first settings have its own look. The others take those that are left, by name.
    """
    kinds = kinds_of(group, paper)
    found: dict[Kind, Look] = {}
    for kind in kinds:
        if kind[0] in BUILT_IN and kind[0] not in {method for method, _ in found}:
            found[kind] = BUILT_IN[kind[0]]
    left = _left()
    for kind in sorted(kinds.keys() - found.keys()):
        colour, mark = next(left)
        found[kind] = Look(colour, mark, "dashed" if kinds[kind] else "solid")
    return {kind: found[kind] for kind in kinds}


def _left() -> Iterator[tuple[int, int]]:
    """Colours and marks that no built-in method has together, those of the last colour first."""
    taken = {(look.colour, look.mark) for look in BUILT_IN.values()}
    every = [(COLOURS - 1 - at % COLOURS, at % MARKS) for at in range(COLOURS * MARKS)]
    return cycle(pair for pair in every if pair not in taken)
