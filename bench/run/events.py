"""What the processes of a run tell each other, typed, and checked where it comes in.

A method's process tells its cell's process `Begun`, `Progress`, `Fitted` and, last, a `MethodOutcome`.
The cell's process tells the process that watches it `Stage`, `Progress` and, last, a `CellOutcome`, `Stopped`
or `Refused`. The watching process tells the run what has become of the cell: an `End`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from bench.run.facts import LARGEST_FACTS, LONGEST_TEXT, size_of
from bench.util.text import clean

MOST = 10**15
"""No fit takes more steps, and no model has more parameters."""

MOST_LOSSES = 100
"""No more losses of one report are passed on: each of them is shown on one line."""


Kind = TypeVar("Kind")


class NoEvent(ValueError):
    """What a process sent is not one of its events; the message says why, on one line."""


def _finite(value: Any) -> Any:
    """Refuse NaN and infinity, which no JSON holds, and more than a result holds."""
    try:
        size = size_of(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it holds what no JSON can hold ({error})") from None
    if size > LARGEST_FACTS + LONGEST_TEXT:
        raise ValueError(f"it takes {size:,} characters, and a result holds {LARGEST_FACTS:,}")
    return value


def _encodable(value: Any) -> Any:
    """Cut a text that is too long.

    What no file can hold, half of a character that Python writes in two parts, is replaced.
    """
    return value[:LONGEST_TEXT].encode(errors="replace").decode() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_encodable)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Facts = Annotated[dict[str, Any], AfterValidator(_finite)]


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Begun(_Message):
    """The method's process is ready: the fit begins."""

    kind: Literal["begun"] = "begun"


class Fitted(_Message):
    """The fit is over: the imputation begins."""

    kind: Literal["fitted"] = "fitted"


class Progress(_Message):
    """Where a fit stands. A number is 0, and a loss is left out, if the method gave none."""

    kind: Literal["progress"] = "progress"
    epoch: Count
    epochs: Count
    step: Count
    steps: Count
    losses: dict[str, float]


class Stage(_Message):
    """The cell begins to be fitted or scored."""

    kind: Literal["stage"] = "stage"
    name: Literal["fitting", "scoring"]


class Cost(_Message):
    """What a fit and an imputation cost: seconds, milliseconds and megabytes."""

    fit_seconds: Amount
    steps: Count
    impute_ms_per_image: Amount
    peak_memory_mb: Amount
    parameters: Count


class MethodOutcome(_Message):
    """All that a method's process can say of itself.

    Attributes:
        status: "cannot-write" is no end of a cell: the disk is full, and the user must make room.
        error: one line; None if all went well.
        fit: what the method tells of its fit.
        company: how imputations depend on the other images in the call; None if they do not.
    """

    kind: Literal["outcome"] = "outcome"
    status: Literal["ok", "failed", "timeout", "out-of-memory", "interrupted", "cannot-write"]
    error: Text | None = None
    traceback: Text | None = None
    cost: Cost | None = None
    fit: Facts | None = None
    company: Text | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> MethodOutcome:
        if self.status == "ok" and self.cost is None:
            raise ValueError("a fit that went well says what it cost")
        return self


class CellOutcome(_Message):
    """What a cell's result holds beside what was known before it ran.

    Attributes:
        company: as a `MethodOutcome` has it.
        processes_ended: how many processes the method left behind; None for none.
    """

    kind: Literal["outcome"] = "outcome"
    status: Literal["ok", "failed", "timeout", "out-of-memory", "interrupted"]
    error: Text | None = None
    traceback: Text | None = None
    cost: Cost | None = None
    fit: Facts | None = None
    company: Text | None = None
    processes_ended: Count | None = None
    metrics: Facts | None = None
    provenance: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """The outcome as `result.json` holds it."""
        return {name: value for name, value in self.model_dump(exclude={"kind"}).items() if value is not None}


class Stopped(_Message):
    """The cell was stopped before it had a result."""

    kind: Literal["stopped"] = "stopped"


class Refused(_Message):
    """The user must put something right before the cell, or any other, can be run; `why` is one line."""

    kind: Literal["refused"] = "refused"
    why: Text


class Stored(_Message):
    """The cell was run, and its result is stored.

    Attributes:
        number_kept: the run failed, and the number of an earlier run stays; the failure is noted beside it.
    """

    kind: Literal["stored"] = "stored"
    result: dict[str, Any]
    number_kept: bool = False


class Kept(_Message):
    """The cell has a result that counts, and was not run."""

    kind: Literal["kept"] = "kept"
    result: dict[str, Any]


class Held(_Message):
    """Another run has the cell."""

    kind: Literal["held"] = "held"


News = Progress | Stage
End = Stored | Kept | Held | Stopped | Refused
Told = News | End
MethodEvent = Begun | Progress | Fitted | MethodOutcome
CellEvent = Stage | Progress | CellOutcome | Stopped | Refused

_METHOD: TypeAdapter[MethodEvent] = TypeAdapter(Annotated[MethodEvent, Field(discriminator="kind")])
_CELL: TypeAdapter[CellEvent] = TypeAdapter(Annotated[CellEvent, Field(discriminator="kind")])
_END: TypeAdapter[End] = TypeAdapter(Annotated[End, Field(discriminator="kind")])
_NEWS: TypeAdapter[News] = TypeAdapter(Annotated[News, Field(discriminator="kind")])


def read_method_event(line: bytes) -> MethodEvent:
    """The event in a line from a method's process. Raises NoEvent if it is none."""
    return _read(_METHOD, line)


def read_cell_event(line: bytes) -> CellEvent:
    """The event in a line from a cell's process. Raises NoEvent if it is none."""
    return _read(_CELL, line)


def read_end(text: str) -> End:
    """The end of a cell that was run on another machine, from JSON. Raises NoEvent if it is none."""
    return _read(_END, text)


def _read(adapter: TypeAdapter[Kind], text: bytes | str) -> Kind:
    # Python's own reader: it gives back each number exactly as Python wrote it.
    try:
        return adapter.validate_python(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise NoEvent(clean(f"{place}: {first['msg']}".removeprefix(": "))[:200]) from None
    except (ValueError, RecursionError) as error:
        raise NoEvent(f"it cannot be read ({clean(str(error))})"[:200]) from None


def end_as_json(end: End) -> str:
    """What `read_end` reads."""
    return json.dumps(end.model_dump())


def note_of(news: News) -> dict[str, Any]:
    """The news as a cell's `progress.json` holds it."""
    if isinstance(news, Stage):
        return {"stage": news.name}
    return {"progress": news.model_dump(exclude={"kind"})}


def news_of(note: Mapping[str, Any] | None) -> News | None:
    """The news in a `progress.json`; None if there is none."""
    if note is None:
        return None
    progress = note.get("progress")
    try:
        if isinstance(progress, Mapping):
            return Progress.model_validate({**progress})
        return Stage.model_validate({"name": note.get("stage")})
    except ValidationError:
        return None


def whole(value: Any) -> int:
    """A number of steps or parameters; 0 if the value is none, or is beyond all that can be."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return number if 0 <= number <= MOST else 0


def losses_of(given: Any) -> dict[str, float]:
    """A method's losses by name; what is no number is left out, and so is what comes after `MOST_LOSSES`."""
    losses: dict[str, float] = {}
    if not isinstance(given, Mapping):
        return losses
    for name, loss in itertools.islice(given.items(), MOST_LOSSES):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            losses[_encodable(str(name))[:100]] = float(loss)
    return losses
