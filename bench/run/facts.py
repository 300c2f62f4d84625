"""What a method tells of its fit, made small enough and plain enough for a result."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

DEEPEST = 20
"""How deep facts may be nested; what lies deeper is dropped."""

MOST_ENTRIES = 20_000
"""How many entries of one list or dict are kept."""

MOST_VALUES = 400_000
"""How many values of all facts together are kept."""

LONGEST_TEXT = 20_000
"""How many characters of one text are kept."""

LARGEST_FACTS = 10_000_000
"""How many characters all facts may take in `result.json`."""

MOST_NOTES = 20
"""How many notes say what was cut."""


def size_of(facts: Any) -> int:
    """How many characters the facts take in `result.json`.

    Raises:
        ValueError: they hold NaN or infinity, or are nested without end.
        RecursionError: they are nested too deeply.
    """
    short = len(json.dumps(facts, allow_nan=False))
    # Indenting is slow, and never makes them smaller.
    return short if short > LARGEST_FACTS else len(json.dumps(facts, indent=1))


def facts_of(given: Mapping[Any, Any]) -> dict[str, Any]:
    """Facts as JSON can hold them. A fit is not lost for a fact that JSON cannot hold, or that is too large.

    Of a long list the first entries are kept, so that an entry still stands at its epoch.

    Returns:
        The facts; if something was cut, `cut` lists what, one line each.
    """
    room = _Room()
    facts: dict[str, Any] = room.plain(given, "the facts")
    sizes = {name: size_of({name: value}) for name, value in facts.items()}
    for largest in sorted(sizes, key=lambda name: -sizes[name]):
        if sum(sizes.values()) <= LARGEST_FACTS:
            break
        room.note(f"{largest[:100]}: left out, it was too large")
        del facts[largest], sizes[largest]
    return facts | {"cut": room.notes} if room.notes else facts


class _Room:
    """How much room is left for facts.

    Attributes:
        notes: what was cut.
    """

    def __init__(self) -> None:
        self._left = MOST_VALUES
        self._characters = LARGEST_FACTS
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        if len(self.notes) < MOST_NOTES and text not in self.notes:
            self.notes.append(text)

    def plain(self, value: Any, name: str, depth: int = 0) -> Any:
        """The value as JSON can hold it; `name` is the fact that it is part of."""
        self._left -= 1
        if depth > DEEPEST:
            return None
        if isinstance(value, dict):
            kept: dict[str, Any] = {}
            for key, item in itertools.islice(value.items(), self._most(len(value), name)):
                text = self._text(str(key), name)
                kept[text] = self.plain(item, name if depth else text[:100], depth + 1)
            return kept
        if isinstance(value, list | tuple):
            most = self._most(len(value), name)
            return [self.plain(item, name, depth + 1) for item in itertools.islice(value, most)]
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, int):
            return value if abs(value) < 2**63 else None
        if value is None:
            return None
        return self._text(value if isinstance(value, str) else str(value)[:200], name)

    def _most(self, count: int, name: str) -> int:
        """How many of so many entries are kept."""
        kept = max(0, min(count, MOST_ENTRIES, self._left))
        if kept < count:
            self.note(f"{name}: the first {kept:,} of {count:,} entries are kept")
        return kept

    def _text(self, text: str, name: str) -> str:
        most = min(LONGEST_TEXT, self._characters)
        if len(text) > most:
            self.note(f"{name}: the first {most:,} of {len(text):,} characters are kept")
        kept = text[:most].encode(errors="replace").decode()
        self._characters -= len(kept)
        return kept
