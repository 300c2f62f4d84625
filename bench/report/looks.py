"""Each method's colour, mark and dashes: the same in every figure and on every page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from bench.report.groups import Group
from bench.report.layout import kinds_of
from bench.report.published import prflow_paper

COLOURS, MARKS = 7, 6
"""How many a figure and the page's style sheet have."""
SALT = 67022
"""Any number would do. With this one, those of this project's methods that share a colour differ in mark and
dashes, and their curves lie far apart in the measured results."""

Kind = tuple[str, str]
"""A method and its settings."""


@dataclass(frozen=True)
class Look:
    """How one method is drawn.

    Attributes:
        colour, mark: positions in the lists of colours and marks of a figure or the page.
        dashes: "solid", or for a baseline "dashed" or "dotted".
    """

    colour: int
    mark: int
    dashes: str


def looks(group: Group) -> dict[Kind, Look]:
    """A look for each method and its settings, in the tables' order.

    The paper's methods have the first looks, in the paper's order. The look of any other method follows from
    its name. This is for the first settings of a method in the tables; the look of its other settings follows
    from these too. Where two would share colour and mark, the later one by name takes the next free pair.
    """
    kinds = kinds_of(group)
    first = {method: (method, settings) for method, settings in reversed(kinds)}
    paper = {
        method: Look(number % COLOURS, number % MARKS, "solid")
        for number, method in enumerate(prflow_paper().methods)
    }
    found = {first[method]: look for method, look in paper.items() if method in first}
    taken = {(look.colour, look.mark) for look in paper.values()}
    for kind in sorted(kinds.keys() - found.keys(), key=lambda kind: (kind != first[kind[0]], kind)):
        text = kind[0] if kind == first[kind[0]] else "".join(kind)
        number = int.from_bytes(hashlib.sha256(f"{SALT} {text}".encode()).digest()[:8], "big")
        pair = next((one for one in _pairs(number) if one not in taken), next(_pairs(number)))
        taken.add(pair)
        dashed = ("dashed", "dotted")[number // (COLOURS * MARKS) % 2]
        found[kind] = Look(*pair, dashed if kinds[kind] else "solid")
    return {kind: found[kind] for kind in kinds}


def _pairs(number: int) -> Iterator[tuple[int, int]]:
    """Every pair of a colour and a mark, once, from the one that a number stands for."""
    for step in range(COLOURS * MARKS):
        at = (number + step) % (COLOURS * MARKS)
        yield at % COLOURS, at // COLOURS
