"""Stored results, read back: every `result.json` below a folder, checked and cleaned, without torch."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bench.errors import BenchError
from bench.store.keys import rekeyed
from bench.util.files import read_arrays, read_regular
from bench.util.folders import folders_below
from bench.util.text import clean, printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = 2
LARGEST_BYTES = 50_000_000
LARGEST_LOSS = 1e300
LONGEST_NAME = 100
NOT_FINITE = "the stored value is not a finite number"


def _clean_lines(text: str) -> str:
    """The text with each line cleaned; its indentation stays."""
    return "\n".join(kept for line in text.splitlines() if (kept := printable(line)).strip())


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


Line = Annotated[str, AfterValidator(clean)]
Label = Annotated[str, AfterValidator(lambda text: clean(text)[:LONGEST_NAME])]
Name = Annotated[str, AfterValidator(clean), Field(min_length=1)]
Description = Annotated[str, BeforeValidator(_as_text), AfterValidator(clean)]
Lines = Annotated[str, AfterValidator(_clean_lines)]
Number = Annotated[float | None, BeforeValidator(_finite)]
Count = Annotated[int, Field(ge=0, le=10**15)]


def losses_by_name(fit: Mapping[str, Any]) -> dict[str, list[float]]:
    """The losses that a fit told, by name, a number an epoch. What is not a finite number is left out.

    Args:
        fit: the part `fit` of a result; its `history` is as the method gave it.
    """
    found: dict[str, list[float]] = {}
    epochs = fit.get("history")
    for losses in epochs if isinstance(epochs, list) else ():
        for name, loss in losses.items() if isinstance(losses, dict) else ():
            if isinstance(loss, int | float) and abs(loss) <= LARGEST_LOSS:
                found.setdefault(clean(name)[:LONGEST_NAME], []).append(float(loss))
    return found


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", populate_by_name=True)


class Cell(_Part):
    """Which cell a result is of.

    Attributes:
        settings: the settings that differ from the preset's.
        rate: the fraction missing, in (0, 1).
    """

    method: Name
    dataset: Name
    mechanism: Name
    rate: float = Field(gt=0, lt=1)
    seed: Count
    preset: Name
    settings: dict[Line, Any] = Field(default_factory=dict)


class Problem(_Part):
    """The posed problem: hashes of the complete pixels and of the masks, and the numbers of images.

    Attributes:
        official: whether the pixels are the published data set's; None if that is not recorded.
    """

    fingerprint: Line | None = None
    observed: Line | None = None
    train: Count | None = None
    test: Count | None = None
    official: bool | None = None


class Metric(_Part):
    """One number with its 95 % interval; `value` is None if there is no number; `reason` then says why.

    Attributes:
        floor: FID(complete test images, complete training images); for FID only.
        floor_reason: why there is no floor; "" if not recorded.
        accuracy_complete: the judge's accuracy on the complete test images; for SCC only.
        judge, weights: the classifier that scored and the hash of its weights; "" if not recorded.
        title, lower_is_better: its heading in tables, and which way is better; for plugins' metrics only.
    """

    value: Number = None
    low: Number = None
    high: Number = None
    floor: Number = None
    accuracy_complete: Number = None
    reason: Description = ""
    floor_reason: Description = ""
    judge: Description = ""
    weights: Description = ""
    title: Line = ""
    lower_is_better: bool | None = None


class Cost(_Part):
    """What a cell cost: seconds, milliseconds, megabytes and counts; None if not recorded."""

    fit_seconds: Number = None
    steps: Number = None
    impute_ms_per_image: Number = None
    peak_memory_mb: Number = None
    parameters: Number = None


class Display(_Part):
    """How tables show a result.

    Attributes:
        method, dataset: how they are spelled; "" if not recorded.
        baseline: whether the method counts as a baseline.
        citation, dataset_citation: BibTeX; "" if there is none, or if it is not recorded.
    """

    method: Label = ""
    dataset: Label = ""
    baseline: bool = False
    citation: Lines = ""
    dataset_citation: Lines = ""


class Method(_Part):
    """The method as it was run.

    Attributes:
        settings: every setting's value.
        source: the identity of its code; None if not recorded.
        stored_source: the identity or the hash in the file, if that is of older code that gives the same
            numbers; None otherwise.
    """

    settings: dict[Line, Any] = Field(default_factory=dict)
    source: Line | None = None
    stored_source: Line | None = None


class Result(_Part):
    """One `result.json`.

    Attributes:
        key: hash of all that the numbers depend on; None if not recorded.
        protocol: the version of the rules that it was measured by; None if not recorded.
        asked: who asked for what: the suite, and where each option's value came from.
        fit: what the method said of its fit.
        company: how imputations depend on the other test images; "" if they do not, or if not recorded.
        status: "ok", "failed", "timeout", "out-of-memory" or "interrupted".
        display: how tables show it.
        error: one line; "" if all went well.
        path: the file it was read from.
    """

    schema_version: int = Field(alias="schema")
    status: Name
    key: Line | None = None
    protocol: int | None = None
    asked: dict[str, Any] = Field(default_factory=dict)
    cell: Cell
    method: Method = Method()
    fit: dict[str, Any] = Field(default_factory=dict)
    company: Description = ""
    problem: Problem = Problem()
    metrics: dict[Name, Metric] = Field(default_factory=dict)
    cost: Cost = Cost()
    provenance: dict[str, Any] = Field(default_factory=dict)
    display: Display = Display()
    error: Description = ""
    traceback: Lines = ""
    path: Annotated[Path, Field(strict=False)] = Path()

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def rekeyed(self) -> bool:
        """Whether it was stored under an older key, and counts because its code gives the same numbers."""
        return self.method.stored_source is not None

    @property
    def stopped(self) -> str:
        """In which epoch a deadline ended the fit early; "" if it was not ended early."""
        return clean(str(self.fit.get("stopped", "")))

    @property
    def history(self) -> dict[str, list[float]]:
        """The losses of the fit by name, a number an epoch; empty if the method told none."""
        return losses_by_name(self.fit)

    def per_image(self, metric: str) -> NDArray[np.float64] | None:
        """(N,): each test image's own score by this metric; None if no such scores are stored."""
        import numpy as np

        try:
            path = self.path.with_name("per-image.npz")
            names, scores = read_arrays(path, ("metrics", "scores"), LARGEST_BYTES)
            row = scores[names.tolist().index(metric)].astype(np.float64)
        except Exception:
            # A damaged archive can raise nearly anything.
            return None
        return row if row.ndim == 1 and np.isfinite(row).all() else None

    @cached_property
    def settings_label(self) -> str:
        """The settings as "name=value, name=value", in the names' order; "" if there are none."""
        return clean(
            ", ".join(f"{name}={_as_text(self.cell.settings[name])}" for name in sorted(self.cell.settings))
        )

    def metric(self, name: str) -> Metric:
        """A metric of this result; without a value, its `reason` always says why."""
        if not self.ok:
            return Metric(reason=f"{self.status}: {self.error}" if self.error else self.status)
        metric = self.metrics.get(name, Metric())
        if metric.value is None and not metric.reason:
            return metric.model_copy(
                update={"reason": NOT_FINITE if name in self.metrics else "not recorded"}
            )
        return metric


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: lambda document: document}
"""By the number of an old schema: turns a document of it into one of the next, so that it stays readable.

In schema 1, `method.source` is a hash of the bytes of the method's files, "sha256:..."; in schema 2 it is the
identity of the code as parsed, "ast:...". When you raise `SCHEMA` to n + 1, add the entry for n, and files of
schema n + 1 to `tests/bench/store/schemas/`.
"""


def upgrade(document: dict[str, Any]) -> dict[str, Any]:
    """A document of any schema that was ever written, as one of this version's, with today's key.

    Raises:
        ValueError: it has no schema number, or one that this version does not know.
        KeyError, TypeError, AttributeError: it lacks a part.
    """
    while (schema := document.get("schema")) != SCHEMA or type(schema) is not int:
        if type(schema) is not int:
            raise ValueError("is not a stored result (it has no schema number)")
        if schema not in UPGRADES:
            raise ValueError(f"has schema {clean(str(schema)[:20])}; this version reads schema {SCHEMA}")
        document = {**UPGRADES[schema](document), "schema": schema + 1}
    return rekeyed(document)


def fault_of(document: dict[str, Any]) -> str | None:
    """What is wrong with a result's document of this schema, on one line; None if it can be read."""
    try:
        Result.model_validate(document)
    except ValidationError as error:
        return _first_of(error)
    return None


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return clean(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")


def _checked(document: Any, path: Path) -> Result:
    """A document of any known schema as a result. Raises ValueError, one line, if it is not a result."""
    if not isinstance(document, dict):
        raise ValueError("is not a stored result (it has no schema number)")
    try:
        document = upgrade(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("is not a stored result (an old one lacks a part)") from error
    try:
        return Result.model_validate({**document, "path": path})
    except ValidationError as error:
        raise ValueError(f"is not a stored result ({_first_of(error)})") from error


def readable(document: Any, path: Path) -> bool:
    """Whether what a `result.json` holds is a result of this schema or an older one.

    Raises:
        BenchError: it is of a later schema.
    """
    schema = document.get("schema") if isinstance(document, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise BenchError(
            f"{path} has schema {schema} of a later version; update bench, or choose another --results"
        )
    try:
        _checked(document, path)
    except ValueError:
        return False
    return True


def read_result(path: Path) -> Result:
    """Read one `result.json`.

    Raises:
        ValueError: the file cannot be read, is cut off, or is not a result that can be read; one line.
    """
    try:
        content = read_regular(path, LARGEST_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ValueError(f"is larger than {LARGEST_BYTES:,} bytes, more than any result has") from error
        raise ValueError(f"cannot be read ({error.strerror})") from error
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("is not whole JSON") from error
    return _checked(document, path)


def read_results(root: Path) -> tuple[list[Result], list[str]]:
    """Read every `result.json` below a folder, in the order of their paths.

    Returns:
        The results, and one line for each file that is left out, naming it.
    """
    results: list[Result] = []
    warnings: list[str] = []

    def unseen(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            warnings.append(f"{clean(str(error.filename))} cannot be read ({error.strerror}); left out")

    folders = folders_below(root, unseen)
    for path in sorted(folder / "result.json" for folder, names in folders if "result.json" in names):
        try:
            results.append(read_result(path))
        except ValueError as error:
            warnings.append(f"{clean(str(path))} {error}; left out")
    return results, warnings
