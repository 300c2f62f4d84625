"""Results of older code that gives the same numbers get today's key; no other result does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.plugins.registry import describe_all, find_methods
from bench.store import keys
from bench.store.keys import Same, key_of, rekeyed, same_numbers
from bench.store.results import read_result

SCHEMAS = Path(__file__).parent / "schemas"
EXPERIMENTS = Path(__file__).parents[3] / "results" / "experiments"
OLD = "sha256:" + "1" * 64
TODAY = "ast:" + "2" * 64
PARTS: dict[str, Any] = {
    "protocol": 1,
    "settings": {"epochs": 3, "rate": 1e-05, "bold": True},
    "seed": 7,
    "fingerprint": "sha256:3",
    "observed": "sha256:4",
}


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the method "flow", code of the hash `OLD` gives the same numbers as today's."""
    known = {"flow": Same(TODAY, frozenset({OLD})), **same_numbers()}
    monkeypatch.setattr(keys, "same_numbers", lambda: known)


def document() -> dict[str, Any]:
    """A result of "flow" that was stored by schema 1."""
    return {
        "status": "ok",
        "key": key_of(source=OLD, **PARTS),
        "protocol": 1,
        "cell": {"method": "flow", "seed": 7},
        "method": {"settings": {**PARTS["settings"]}, "source": OLD},
        "problem": {"fingerprint": "sha256:3", "observed": "sha256:4"},
    }


def altered(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(result: dict[str, Any]) -> None:
        for name in path[:-1]:
            result = result[name]
        result[path[-1]] = to

    return change


def test_the_key_of_schema_1_is_computed_as_it_was() -> None:
    """Against the key that a real run has stored, and the parts of that key as it stored them."""
    stored = json.loads((SCHEMAS / "1-suite.json").read_text())
    parts = {
        "protocol": 1,
        "source": stored["method"]["source"],
        "settings": stored["method"]["settings"],
        "seed": stored["cell"]["seed"],
        "fingerprint": stored["problem"]["fingerprint"],
        "observed": stored["problem"]["observed"],
    }
    assert key_of(**parts) == stored["key"]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    assert stored["key"] == f"sha256:{digest}"


def test_a_stored_result_of_known_code_gets_todays_key() -> None:
    stored = json.loads((SCHEMAS / "1-suite.json").read_text())
    read = read_result(SCHEMAS / "1-suite.json")
    today = json.loads(keys.SAME_NUMBERS.read_text())["mean"]["identity"]
    assert read.rekeyed and read.method.source == today
    assert read.method.stored_source == stored["method"]["source"]
    parts = {"seed": 0, "protocol": 1, "settings": stored["method"]["settings"]}
    pixels = {name: stored["problem"][name] for name in ("fingerprint", "observed")}
    assert read.key == key_of(source=today, **parts, **pixels) != stored["key"]


def test_a_stored_result_of_unknown_code_keeps_its_key() -> None:
    for name in ("1-first", "1-failed"):
        stored = json.loads((SCHEMAS / f"{name}.json").read_text())
        read = read_result(SCHEMAS / f"{name}.json")
        assert not read.rekeyed
        assert (read.key, read.method.source) == (stored["key"], stored["method"]["source"])


def test_nothing_but_key_and_code_changes() -> None:
    before, after = document(), rekeyed(document())
    assert after["key"] == key_of(source=TODAY, **PARTS)
    assert after["method"] == {"settings": PARTS["settings"], "source": TODAY, "stored_source": OLD}
    for name in before.keys() - {"key", "method"}:
        assert after[name] == before[name]
    assert rekeyed(after) == after


def test_settings_that_older_code_did_not_have_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"flow": Same(TODAY, frozenset({OLD}), {"first": 2, "epochs": 500})}
    monkeypatch.setattr(keys, "same_numbers", lambda: known)
    settings = {"epochs": 3, "rate": 1e-05, "bold": True, "first": 2}
    after = rekeyed(document())
    assert after["method"]["settings"] == settings, "and no stored value is replaced"
    assert after["key"] == key_of(source=TODAY, **{**PARTS, "settings": settings})


NOT_ITS_KEY = {
    "the key": altered("key", to="sha256:0"),
    "no key": altered("key", to=None),
    "a setting": altered("method", "settings", "epochs", to=4),
    "a setting's type": altered("method", "settings", "bold", to=1),
    "the seed": altered("cell", "seed", to=8),
    "the protocol": altered("protocol", to=0),
    "the pixels": altered("problem", "fingerprint", to="sha256:5"),
    "the masks": altered("problem", "observed", to="sha256:5"),
    "no problem": altered("problem", to=None),
    "the method": altered("cell", "method", to="mean"),
    "a method of someone else": altered("cell", "method", to="theirs"),
    "other code": altered("method", "source", to="sha256:6"),
}


@pytest.mark.parametrize("change", NOT_ITS_KEY.values(), ids=NOT_ITS_KEY)
def test_a_result_that_was_altered_or_is_of_other_code_keeps_its_key(
    change: Callable[[dict[str, Any]], None],
) -> None:
    result = document()
    change(result)
    assert rekeyed(result) == result


def test_the_shipped_table_is_of_todays_code() -> None:
    """Otherwise old results are outdated, or `bench table` says of them what is not so.

    If you changed code and no number: `python -m benchmarks.same_numbers COMMIT`. If you changed a method's
    numbers: take the method out of `bench/store/same_numbers.json`.
    """
    sources = find_methods(sorted(EXPERIMENTS.glob("*/*.py")))
    table = json.loads(keys.SAME_NUMBERS.read_text())
    described = describe_all(sources[name] for name in table)
    today = {name: getattr(one, "source", str(one)) for name, one in described.items()}
    assert {name: entry["identity"] for name, entry in table.items()} == today
    assert not any(entry["identity"] in entry["same"] for entry in table.values())
