"""The key of a result, and how a result gets today's key if older code is known to give the same numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

SAME_NUMBERS = Path(__file__).with_name("same_numbers.json")


class Same(NamedTuple):
    """Which code gives the same numbers as a method's code of today.

    Attributes:
        identity: the identity of today's code.
        older: identities of older code, and hashes of its files' bytes.
        added: settings that older code did not have, with the values that give the same numbers.
    """

    identity: str
    older: frozenset[str]
    added: Mapping[str, Any] = MappingProxyType({})


@cache
def same_numbers() -> dict[str, Same]:
    """By method: which older code gives the same numbers. `benchmarks/same_numbers.py` writes the table."""
    table = json.loads(SAME_NUMBERS.read_text())
    return {
        name: Same(one["identity"], frozenset(one["same"]), one.get("added", {}))
        for name, one in table.items()
    }


def key_of(*, protocol: Any, source: Any, settings: Any, seed: Any, fingerprint: Any, observed: Any) -> str:
    """Hash of all that a result's numbers depend on; every part is JSON.

    Args:
        protocol: the version of the rules that it was measured by.
        source: the identity of the method's code.
        settings: the value of every setting.
        seed: of the problem and the method.
        fingerprint: hash of the complete pixels.
        observed: hash of the masks.
    """
    parts = {
        "protocol": protocol,
        "source": source,
        "settings": settings,
        "seed": seed,
        "fingerprint": fingerprint,
        "observed": observed,
    }
    return "sha256:" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def rekeyed(document: dict[str, Any]) -> dict[str, Any]:
    """A result's document with the key that today's code gives it, or the same document.

    The key changes only if the result's code is known to give the same numbers as today's, and if its key
    fits its other parts. `method.stored_source` then names the code that it was measured with. Settings that
    this code did not have yet are added.

    Raises:
        TypeError, AttributeError: a part of the document is of another type.
    """
    method, cell, problem = (document.get(part) or {} for part in ("method", "cell", "problem"))
    known = same_numbers().get(cell.get("method", ""))
    if known is None or method.get("source") not in known.older:
        return document
    parts = {
        "protocol": document.get("protocol"),
        "settings": method.get("settings"),
        "seed": cell.get("seed"),
        "fingerprint": problem.get("fingerprint"),
        "observed": problem.get("observed"),
    }
    if document.get("key") != key_of(source=method["source"], **parts):
        return document
    settings = {**known.added, **method["settings"]}
    return document | {
        "key": key_of(source=known.identity, **parts | {"settings": settings}),
        "method": method
        | {"source": known.identity, "stored_source": method["source"], "settings": settings},
    }
