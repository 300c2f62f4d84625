"""What a run shows of itself where there is no terminal."""

from __future__ import annotations

import io
import sys
import time

import pytest
from rich.console import Console

from bench.run.display import Display
from bench.run.events import Progress, Stage


def test_speed_and_time_left_are_shown_once_they_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    printed = io.StringIO()
    display = Display(1, Console(file=printed, soft_wrap=True, highlight=False, markup=False))

    def progress(step: int, losses: dict[str, float]) -> Progress:
        return Progress(epoch=1 + step // 50, epochs=2, step=step, steps=100, losses=losses)

    with display.cell(1, "slow") as shown:
        # A fit that takes up at step 10, after a long start; a second later; and when 40 steps took 16 s.
        for when, step, losses in ((20.0, 10, {"J": 2.0}), (21.0, 12, {"J": 1.5}), (36.0, 50, {})):
            now = when
            shown(progress(step, losses))
    assert printed.getvalue().splitlines() == [
        "[1/1] slow: started",
        "[1/1] slow: epoch 1/2, J 2",
        "[1/1] slow: epoch 2/2, 2.5 steps/s, 20 s left",
    ]


def test_a_fit_that_does_not_say_how_long_it_is_or_goes_back_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for terminal in (False, True):
        printed = io.StringIO()
        display = Display(1, Console(file=printed, force_terminal=terminal, soft_wrap=True, markup=False))
        with display.cell(1, "odd") as shown:
            for step, steps in ((50, 100), (10, 100), (60, 0), (10**15, 10**15)):
                now += 20
                shown(Progress(epoch=0, epochs=0, step=step, steps=steps, losses={"J": float("nan")}))
        assert "J nan" in printed.getvalue() or terminal


class _Broken(Console):
    """A console that cannot show anything."""

    def print(self, *objects: object, **how: object) -> None:
        raise ValueError("no width")

    def get_time(self) -> float:
        raise OverflowError("int too large to convert to float")


@pytest.mark.parametrize("terminal", [False, True])
def test_what_cannot_be_shown_ends_nothing(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    display = Display(1, _Broken(file=io.StringIO(), force_terminal=terminal))
    reached = False
    with display.cell(1, "odd") as shown:
        for step in (1, 2):
            now += 20
            shown(Progress(epoch=0, epochs=0, step=step, steps=9, losses={}))
        shown(Stage(name="scoring"))
        display.line("done")
        reached = True
    assert reached


def test_a_log_holds_no_sequences_for_a_terminal_even_if_colour_is_forced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", printed := io.StringIO())
    display = Display(1)
    with display.cell(1, "one") as shown:
        shown(Progress(epoch=1, epochs=2, step=1, steps=2, losses={}))
    display.line("[1/1] one: done")
    assert printed.getvalue() == "[1/1] one: started\n[1/1] one: done\n"
