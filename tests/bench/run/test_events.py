"""What processes tell each other is checked where it comes in, and travels without loss."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.run import events

PROGRESS = {"kind": "progress", "epoch": 1, "epochs": 2, "step": 3, "steps": 4, "losses": {"J": 0.5}}
COST = {"fit_seconds": 1.5, "steps": 7, "impute_ms_per_image": 0.1, "peak_memory_mb": 9.0, "parameters": 0}
OUTCOME = {"kind": "outcome", "status": "ok", "cost": COST, "fit": {"best": None}}


def line(event: Any) -> bytes:
    return json.dumps(event).encode()


def test_honest_events_come_in() -> None:
    for given_event in (PROGRESS, OUTCOME, {"kind": "begun"}):
        read = events.read_method_event(line(given_event))
        assert {name: value for name, value in read.model_dump().items() if value is not None} == given_event
    failure = {"kind": "outcome", "status": "failed", "error": "x", "traceback": "y"}
    assert isinstance(events.read_method_event(line(failure)), events.MethodOutcome)


CLAIMS: dict[str, Any] = {
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "nothing": b"",
    "a list": [1],
    "no kind": {"step": 1},
    "a kind of the cell's process": {"kind": "stage", "name": "scoring"},
    "the key": OUTCOME | {"key": "sha256:0"},
    "another method": OUTCOME | {"cell": {"method": "prflow"}},
    "metrics": OUTCOME | {"metrics": {"rmse": {"value": 0.0}}},
    "an origin": OUTCOME | {"provenance": {"precision": "float32"}},
    "a cost that there is not": OUTCOME | {"cost": COST | {"dollars": 1}},
    "a fit without a cost": {"kind": "outcome", "status": "ok"},
    "a cost that is none": OUTCOME | {"cost": COST | {"fit_seconds": float("nan")}},
    "a status that there is not": OUTCOME | {"status": "best"},
    "facts that no JSON holds": OUTCOME | {"fit": {"loss": float("inf")}},
    "a huge number": PROGRESS | {"steps": 10**400},
    "a number that Python does not read": line(PROGRESS).replace(b": 4", b": 1" + b"0" * 5000),
    "a word for a number": PROGRESS | {"step": "3"},
    "nested for ever": b"[" * 100_000,
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_method_s_process_cannot_claim_more_than_is_its_own(name: str) -> None:
    claim = CLAIMS[name]
    with pytest.raises(events.NoEvent) as caught:
        events.read_method_event(claim if isinstance(claim, bytes) else line(claim))
    assert 0 < len(str(caught.value)) <= 200 and str(caught.value).isprintable()


@given(st.dictionaries(st.text(), st.floats(allow_nan=False) | st.integers(-(2**60), 2**60)))
def test_numbers_travel_to_the_last_digit(metrics: dict[str, float]) -> None:
    finite = {name: value for name, value in metrics.items() if abs(value) < float("inf")}
    end = events.Stored(result={"metrics": finite})
    again = events.read_end(events.end_as_json(end))
    assert isinstance(again, events.Stored) and repr(again.result) == repr(end.result)


def test_a_note_is_what_it_was() -> None:
    progress = events.Progress.model_validate({**PROGRESS})
    stage = events.Stage(name="scoring")
    assert events.note_of(stage) == {"stage": "scoring"}
    assert events.note_of(progress)["progress"]["steps"] == 4
    assert [events.news_of(events.note_of(news)) for news in (progress, stage)] == [progress, stage]
    assert events.news_of(None) is events.news_of({}) is events.news_of({"progress": {"step": "x"}}) is None


@pytest.mark.parametrize(
    ("value", "number"), [(7, 7), (7.9, 7), (10**400, 0), (-1, 0), (None, 0), ("many", 0), (float("inf"), 0)]
)
def test_a_number_of_steps_that_is_none_is_0(value: Any, number: int) -> None:
    assert events.whole(value) == number


def test_losses_that_are_no_numbers_are_left_out() -> None:
    assert events.losses_of({"a": 1, 2: 0.5, "b": "x", "c": None, "d": 10**400}) == {"a": 1.0, "2": 0.5}


def test_half_a_character_costs_no_outcome() -> None:
    """Names of files may hold such halves, and so may messages about them."""
    outcome = events.MethodOutcome(status="failed", error="no file b\udc80")
    again = events.read_method_event(json.dumps(outcome.model_dump()).encode())
    assert isinstance(again, events.MethodOutcome) and again.error == "no file b?"


def test_losses_that_are_none_or_too_many_cost_no_fit() -> None:
    assert events.losses_of(None) == events.losses_of([1.0]) == {}
    many = events.losses_of({f"{number} {'x' * 10_000}": number for number in range(100_000)})
    assert list(many.values()) == [float(number) for number in range(100)]
    assert all(len(name) <= 100 for name in many)
