"""Whether a stored result counts: one table over all that can differ, and all that a run can ask for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.grid.cell import Cell
from bench.grid.counting import Asked, number_at_risk, result_of, verdict_on
from bench.plugins.registry import Description, Setting, Source
from bench.problem.posing import Problem
from bench.store.results import Result

ZEROS = "sha256:" + "0" * 64
FACTS = {"fingerprint": "sha256:pixels", "observed": "sha256:masks", "train": 20, "test": 10}
METHOD = Description("own", "", "", "", "", False, {"depth": Setting("int", 3)}, {}, {}, (), "sha256:code")
CELL = Cell(
    Problem("mnist", rate=0.5, train=20, test=10), Source("own", "own:Own", "own"), METHOD, "quick", {}
)
BY_HAND = replace(CELL, asked={"from": {"precision": "command line"}})

Change = Callable[[dict[str, Any]], object]


def altered(*path: str, to: Any) -> Change:
    def change(document: dict[str, Any]) -> None:
        for name in path[:-1]:
            document = document.setdefault(name, {})
        document[path[-1]] = to

    return change


def both(*changes: Change) -> Change:
    def change(document: dict[str, Any]) -> None:
        for one in changes:
            one(document)

    return change


def same(document: dict[str, Any]) -> None:
    """No change."""


def stored(change: Change = same) -> Result:
    """What an honest run of the cell stores, and one change of it."""
    document = {
        "schema": 1,
        "status": "ok",
        "key": CELL.key(FACTS),
        "protocol": 1,
        "cell": CELL.record(),
        "method": {"settings": {"depth": 3}, "source": "sha256:code"},
        "problem": dict(FACTS),
        "metrics": {"rmse": {"value": 0.1}},
        "fit": {},
        "provenance": {"timeout": None, "precision": "float32"},
    }
    document = copy.deepcopy(document)
    change(document)
    return result_of(document)


DIFFERENCES: dict[str, tuple[Change, str]] = {
    "a setting": (altered("method", "settings", "depth", to=2), "setting depth: 2 stored, 3 now"),
    "a setting of another type": (
        altered("method", "settings", "depth", to=3.0),
        "setting depth: 3.0 stored",
    ),
    "a setting that is gone": (
        altered("method", "settings", "width", to=9),
        "setting width: 9 stored, the method has none now",
    ),
    "a setting that is new": (altered("method", "settings", to={}), "setting depth: not stored, 3 now"),
    "the protocol": (altered("protocol", to=0), "version of the protocol: 0 stored, 1 now"),
    "the code": (altered("method", "source", to=ZEROS), "the method's code changed: sha256:000000000000"),
    "the pixels": (altered("problem", "fingerprint", to=ZEROS), "the data set's pixels differ: sha256:0000"),
    "the masks": (altered("problem", "observed", to=ZEROS), "the masks differ: sha256:000000000000 stored"),
    "the training images": (altered("problem", "train", to=30), "training images: 30 stored, 20 now"),
    "the test images": (altered("problem", "test", to=30), "test images: 30 stored, 10 now"),
    "the data set": (altered("cell", "dataset", to="cifar10"), "data set: cifar10 stored, mnist now"),
    "the mechanism": (altered("cell", "mechanism", to="block"), "mechanism: block stored, pixel now"),
    "the seed": (altered("cell", "seed", to=4), "seed: 4 stored, 0 now"),
    "the rate": (altered("cell", "rate", to=0.6), "rate: 0.6 stored, 0.5 now"),
    "the key": (altered("key", to=ZEROS), "result.json was altered"),
    "no key": (altered("key", to=None), "it does not say what it was measured on"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
@pytest.mark.parametrize("status", ["ok", "failed"])
def test_a_result_of_something_else_does_not_count_and_says_the_one_thing_that_differs(
    name: str, status: str
) -> None:
    change, reason = DIFFERENCES[name]
    for asked in (None, Asked()):
        verdict = verdict_on(stored(both(change, altered("status", to=status))), CELL, FACTS, asked)
        assert not verdict.counts and not verdict.again
        assert len(verdict.differs) == 1 and reason in verdict.differs[0]


EARLY = altered("fit", "stopped", to="deadline reached in epoch 1 of 4")
WITHIN_60 = both(EARLY, altered("provenance", "timeout", to=60.0))
FAILED = altered("status", to="failed")
IN_BFLOAT16 = altered("provenance", "precision", to="bfloat16")

ASKED: list[tuple[str, Change, Cell, Asked, bool]] = [
    ("a number", same, CELL, Asked(), True),
    ("a number, failed ones again", same, CELL, Asked("failed"), True),
    ("a number, all again", same, CELL, Asked("all"), False),
    ("a failure", FAILED, CELL, Asked(), True),
    ("a failure, failed ones again", FAILED, CELL, Asked("failed"), False),
    ("a failure, all again", FAILED, CELL, Asked("all"), False),
    ("late", altered("status", to="timeout"), CELL, Asked(timeout=None), True),
    ("late, failed ones again", altered("status", to="timeout"), CELL, Asked("failed"), False),
    ("interrupted", altered("status", to="interrupted"), CELL, Asked(), False),
    ("ended early, no deadline now", WITHIN_60, CELL, Asked(), False),
    ("ended early, a longer one now", WITHIN_60, CELL, Asked(timeout=61), False),
    ("ended early, the same now", WITHIN_60, CELL, Asked(timeout=60), True),
    ("ended early, a shorter one now", WITHIN_60, CELL, Asked(timeout=59), True),
    ("ended early, not recorded when", EARLY, CELL, Asked(timeout=1), False),
    (
        "ended early, recorded in words",
        both(EARLY, altered("provenance", "timeout", to="x")),
        CELL,
        Asked(),
        False,
    ),
    ("whole under a deadline", altered("provenance", "timeout", to=60.0), CELL, Asked(), True),
    ("bfloat16, nothing asked for", IN_BFLOAT16, CELL, Asked(precision="float32"), True),
    ("bfloat16, float32 asked for", IN_BFLOAT16, BY_HAND, Asked(precision="float32"), False),
    ("bfloat16, bfloat16 asked for", IN_BFLOAT16, BY_HAND, Asked(precision="bfloat16"), True),
    ("no word of it", altered("provenance", to={}), BY_HAND, Asked(precision="bfloat16"), True),
    ("failed in bfloat16", both(FAILED, IN_BFLOAT16), BY_HAND, Asked(precision="float32"), True),
]


@pytest.mark.parametrize(
    ("change", "cell", "asked", "counts"), [row[1:] for row in ASKED], ids=[row[0] for row in ASKED]
)
def test_what_a_run_asks_for_decides_over_a_result_of_its_cell(
    change: Change, cell: Cell, asked: Asked, counts: bool
) -> None:
    verdict = verdict_on(stored(change), cell, FACTS, asked)
    assert verdict.differs == () and bool(verdict.again) != counts
    # Compared with its cell alone, each of them is a result of it.
    assert verdict_on(stored(change), cell, FACTS).counts


def test_what_a_lost_cell_does_not_tell_is_left_to_its_key() -> None:
    document = {"schema": 1, "status": "failed", "key": CELL.key(FACTS), "cell": CELL.record()}
    assert verdict_on(result_of(document), CELL, FACTS, Asked()).counts
    other = verdict_on(result_of(document | {"key": ZEROS}), CELL, FACTS, Asked())
    assert not other.counts


def test_without_the_data_the_rest_is_compared() -> None:
    assert verdict_on(stored(), CELL, None).counts
    assert verdict_on(stored(altered("key", to=ZEROS)), CELL, None).counts
    assert len(verdict_on(stored(altered("method", "source", to=ZEROS)), CELL, None).differs) == 1


OWN = replace(CELL, problem=replace(CELL.problem, dataset="pictures/mine"))
HERE = replace(CELL, problem=replace(CELL.problem, dataset="mine"))
OF_MINE = altered("cell", "dataset", to="mine")
OTHERS = both(OF_MINE, altered("problem", "fingerprint", to=ZEROS))


@pytest.mark.parametrize(
    ("change", "cell", "asked", "told"),
    [
        (same, CELL, None, None),
        (altered("cell", "method", to="owm"), CELL, None, "holds a result of method 'owm', not 'own'"),
        (altered("cell", "dataset", to="cifar10"), CELL, Asked("all"), "of dataset 'cifar10', not 'mnist'"),
        (altered("cell", "rate", to=0.5000001), CELL, None, "of rate 0.5000001, not 0.5"),
        (altered("cell", "settings", to={"depth": 3}), CELL, None, "of settings {'depth': 3}, not {}"),
        (both(altered("cell", "method", to="owm"), FAILED), CELL, None, None),
        (altered("problem", "fingerprint", to=ZEROS), CELL, None, None),
        (OF_MINE, OWN, None, None),
        (OTHERS, OWN, None, "holds a result of other images that are called mine too"),
        (OTHERS, OWN, Asked("failed"), "replace it with --rerun"),
        (OTHERS, OWN, Asked("all"), None),
        (both(OF_MINE, altered("problem", to={})), OWN, None, None),
        (OTHERS, HERE, None, "holds a result of other images that are called mine too"),
    ],
)
def test_a_number_of_something_else_is_at_risk(
    change: Change, cell: Cell, asked: Asked | None, told: str | None
) -> None:
    found = number_at_risk(stored(change), cell, FACTS, asked)
    assert found is None if told is None else told in str(found)
