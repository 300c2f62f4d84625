"""The messages between the process that asks for a method's checks and the process that makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

ENDING_SECONDS = 3.0
"""How long processes that a method has started may take to end after its own."""

Status = Literal["pass", "fail", "refuses", "skipped"]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckJob(_Message):
    """Which checks of a method to make.

    Attributes:
        reference: the method (`bench.plugins.registry.Source`).
        settings: of most fits.
        long_settings: of a fit that only its deadline ends.
        images: "grey" or "colour".
        checks: by name, in their order.
        folder: for checkpoints.
    """

    reference: str
    settings: dict[str, Any]
    long_settings: dict[str, Any]
    images: Literal["grey", "colour"]
    checks: tuple[str, ...]
    folder: Path


class Answer(_Message):
    """What one check found; `reason` is one line, or "" if there is nothing to say."""

    check: str
    status: Status
    reason: str = ""


class Finished(_Message):
    """All checks are made."""

    finished: Literal[True] = True


class LeftBehind(_Message):
    """How many processes of the method were still running some time after its own had ended."""

    processes: int


def read_answer(line: bytes) -> Answer | Finished | LeftBehind | None:
    """The message in a line from the process that makes the checks; None if it is something else."""
    for kind in (Answer, Finished, LeftBehind):
        try:
            return kind.model_validate(json.loads(line))
        except (ValidationError, ValueError, RecursionError):
            continue
    return None
