"""The contract of a method: an Imputer with `fit` and `impute`, and the FitContext that `fit` gets."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from bench.images import MaskedImages
from bench.settings import faults, settings_of


class Imputer(ABC):
    """A method that fills in missing pixels. Subclass it as a dataclass: its fields are its settings.

    A field is int, float, bool or str, `Annotated[int, Ge(1)]` with bounds of `annotated_types`, or a
    `Literal` of its choices. A value out of range is refused before anything runs.

    A setting's value for a run comes from the last of these places that gives one: the field's default,
    `for_dataset[dataset]`, `presets[preset]`, `presets["preset/dataset"]`, and `--set METHOD.NAME=VALUE`.

    Class attributes:
        display_name: the name in tables and figures.
        citation: BibTeX of the method's paper, or "".
        presets: settings by preset (`smoke`, `quick`, `standard`, `paper`) or by "preset/dataset".
        for_dataset: settings by data set.
        baseline: whether it is one of the simple methods that others are measured against.
        bfloat16: whether `--precision auto` may choose bfloat16; False if that makes its results worse.
    """

    display_name: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    for_dataset: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    baseline: ClassVar[bool] = False
    bfloat16: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse settings out of their range.

        A method with a `__post_init__` of its own must call this one.

        Raises:
            ValueError: names the setting, its range and its value.
        """
        settings = settings_of(type(self))
        if found := faults({name: getattr(self, name) for name in settings}, settings):
            raise ValueError(found[0])

    @abstractmethod
    def fit(self, train: MaskedImages, context: FitContext) -> None:
        """Learn from incomplete images, on the CPU as given; move what is needed to `context.device`.

        `train` must not be changed. What `fit` draws at random comes from `context.generator`.
        """

    @abstractmethod
    def impute(self, images: MaskedImages) -> Tensor:
        """Fill in images that `fit` may not have seen.

        An image's imputation must not depend on which other images are in the call.

        Returns:
            (N, C, H, W), float32 in [0, 1], on any device. Observed pixels are put back by the harness.
        """


class Checkpoints(Protocol):
    """Where a fit keeps what it needs to continue after it was killed.

    A state is a nesting of dicts, lists, tensors, numbers, strings, booleans and None.
    """

    def save(self, state: Mapping[str, Any]) -> None:
        """Make `state` the newest checkpoint, in one atomic step."""

    def load(self) -> dict[str, Any] | None:
        """The newest complete checkpoint, with its tensors on the CPU; None if there is no checkpoint."""

    def put(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep a state that will not change, such as a finished stage of a model. A name is used once."""

    def get(self, name: str) -> dict[str, Any]:
        """The state that was put under that name. Raises KeyError if it is absent or damaged."""


class NoCheckpoints:
    """Keeps nothing: for short fits and tests."""

    def save(self, state: Mapping[str, Any]) -> None:
        pass

    def load(self) -> dict[str, Any] | None:
        return None

    def put(self, name: str, state: Mapping[str, Any]) -> None:
        pass

    def get(self, name: str) -> dict[str, Any]:
        raise KeyError(name)


@dataclass(frozen=True)
class Progress:
    """Where a fit stands: the step now, all the steps there will be, and the current losses."""

    epoch: int
    epochs: int
    step: int
    steps: int
    losses: Mapping[str, float]


class Interrupted(Exception):
    """The fit was asked to stop and has written its checkpoint."""


@dataclass
class FitContext:
    """What the harness gives a fit.

    Attributes:
        device: where to compute.
        seed: the cell's seed; draw from `generator(name)` rather than seeding by hand.
        precision: "float32" or "bfloat16", the dtype of matrix products. State stays float32.
        checkpoints: where a long fit saves itself.
        deadline: `time.monotonic()` at which the fit must be done, or None.
        report: called with a Progress now and then.
        facts: what the result will record of the fit: `steps`, `parameters`, `history`, ...
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seed: int = 0
    precision: str = "float32"
    checkpoints: Checkpoints = field(default_factory=NoCheckpoints)
    deadline: float | None = None
    report: Callable[[Progress], None] = lambda progress: None
    facts: dict[str, Any] = field(default_factory=dict)
    stop_requested: Callable[[], bool] = lambda: False

    def generator(self, name: str, device: torch.device | str | None = None) -> torch.Generator:
        """A fresh generator for one purpose; the same seed and name give the same draws.

        Args:
            name: what the draws are for ("order", "noise"); different names are independent.
            device: where it draws; `self.device` if None.
        """
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        generator = torch.Generator(device=self.device if device is None else device)
        return generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    @property
    def out_of_time(self) -> bool:
        """Whether the deadline has passed. Once this was True, the fit counts as ended early."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        if late:
            self.facts.setdefault("stopped", "deadline reached")
        return late
