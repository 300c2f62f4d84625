"""What a method tells of its fit costs no fit and no result, however much it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.run import events, facts
from tests.bench.command import Bench


def test_a_history_without_end_is_cut_and_the_row_says_so(bench: Bench) -> None:
    bench.plugin("context.facts['history'] = [{'loss': i / 7} for i in range(2_000_000)]")
    assert bench.run()[0] == 0
    (result,) = bench.results()
    assert result["status"] == "ok"
    assert result["fit"]["history"] == [{"loss": number / 7} for number in range(20_000)]
    assert result["fit"]["cut"] == ["history: the first 20,000 of 2,000,000 entries are kept"]
    assert "constant" in bench.call("table")[1]
    assert "missing" not in bench.call("status")[1]


def test_facts_within_the_limits_stay_as_they_are() -> None:
    history = [{"loss": number / 3} for number in range(20_000)]
    given = {"history": history, "best": None, "text": "x" * 20_000}
    assert facts.facts_of(given) == given


def _without_end() -> dict[str, Any]:
    given: dict[str, Any] = {}
    given |= {"one": given, "two": given, "three": given}
    return given


@pytest.mark.parametrize(
    "given",
    [
        {"text": "é" * 3_000_000},
        {"many": [["x" * 19_000] * 1000] * 1000},
        {"wide": [[[0] * 20_000] * 20_000]},
        {f"{number}": "x" * 20_000 for number in range(19_000)},
        _without_end(),
    ],
    ids=["text", "texts", "wide", "names", "without end"],
)
def test_facts_of_any_size_are_cut(given: dict[str, Any]) -> None:
    kept = facts.facts_of(given)
    assert len(json.dumps(kept, indent=1)) < 10_100_000
    assert kept["cut"] and all(len(note) < 300 for note in kept["cut"])
    events.MethodOutcome.model_validate({"status": "failed", "fit": kept})


def test_facts_that_were_not_cut_are_refused_where_they_come_in() -> None:
    line = json.dumps({"kind": "outcome", "status": "failed", "fit": {"history": [0.5] * 3_000_000}}).encode()
    with pytest.raises(events.NoEvent, match="a result holds 10,000,000"):
        events.read_method_event(line)
