"""Text that is safe to print or to name a file with, and refusals of unknown names."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable

_ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?", re.DOTALL)


def clean(text: str) -> str:
    """One line that is safe to print: no terminal sequences, no control or invisible characters."""
    text = "".join(" " if char.isspace() else char for char in _ESCAPE_SEQUENCE.sub("", text))
    return " ".join("".join(char for char in text if char.isprintable()).split())


def printable(line: str) -> str:
    """As `clean`, but every space is kept."""
    text = "".join(" " if char.isspace() else char for char in _ESCAPE_SEQUENCE.sub("", line))
    return "".join(char for char in text if char.isprintable()).rstrip()


def file_name(name: str) -> str:
    """The name, with "-" for each character that a file system may refuse.

    A long name is cut. A hash then tells it from others, and so it does if a character beyond ASCII is lost.
    """
    safe = older_file_name(name)
    has_hash = safe.endswith(f"-{_hash(name)}")
    return safe if name.isascii() or has_hash else f"{safe[:100]}-{_hash(name)}"


def older_file_name(name: str) -> str:
    """What earlier versions gave for `file_name`: names in other letters became the same."""
    safe = re.sub(r"[^A-Za-z0-9._=,+@-]", "-", name).lstrip(".") or "-"
    return safe if len(safe) <= 120 else f"{safe[:100]}-{_hash(name)}"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]


def counted(number: int, noun: str) -> str:
    """A number and its noun, as in "1 cell" or "2 cells"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One line that refuses a name and offers the nearest known one, or all of them.

    Capitals count for nothing when the nearest one is looked for.
    """
    names = sorted(known)
    folded = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    hint = f"did you mean {folded[near[0]]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return f"unknown {kind} {name!r}; {hint}"
