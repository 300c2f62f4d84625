"""The settings of a method: their types and limits are read from the annotations of its fields.

A field is annotated `int`, `float`, `bool` or `str`; `Annotated[int, Ge(1)]` with bounds of `annotated_types`
(Ge, Gt, Le, Lt, Interval, MultipleOf); or `Literal["a", "b"]` with choices.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import GroupedMetadata

TYPES = {"int": int, "float": float, "bool": bool, "str": str}

BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "ge": ("at least", lambda value, bound: value >= bound),
    "gt": ("above", lambda value, bound: value > bound),
    "le": ("at most", lambda value, bound: value <= bound),
    "lt": ("below", lambda value, bound: value < bound),
    "multiple_of": ("a multiple of", lambda value, bound: value % bound == 0),
}
"""The bounds of `annotated_types`: how each is called in messages, and whether a value keeps it."""


@dataclass(frozen=True)
class Setting:
    """One setting of a method.

    Attributes:
        type: its type's name: "int", "float", "bool" or "str".
        default: its value if nobody sets it.
        bounds: the limits of its value, by the names in `BOUNDS`.
        choices: the only values that it may have; empty if its values are not listed.
    """

    type: str
    default: Any
    bounds: dict[str, Any] = field(default_factory=dict)
    choices: list[Any] = field(default_factory=list)

    @property
    def range(self) -> str:
        """What its values must be, as in "at least 1" or "'joint' or 'likelihood'"; "" without limits."""
        if self.choices:
            return " or ".join(repr(choice) for choice in self.choices)
        return " and ".join(f"{BOUNDS[name][0]} {bound:g}" for name, bound in self.bounds.items())

    def fault(self, value: Any) -> str:
        """Why a value is refused, as in "must be at least 1, not -5"; "" if it is allowed."""
        if self.choices:
            kept = value in self.choices
        elif self.bounds:
            number = isinstance(value, int | (int if self.type == "int" else float))
            if not number or isinstance(value, bool):
                return f"must be {'a whole' if self.type == 'int' else 'a'} number, not {value!r}"
            kept = all(BOUNDS[name][1](value, bound) for name, bound in self.bounds.items())
        else:
            kept = True
        if kept and isinstance(value, float) and not math.isfinite(value):
            return f"must be a finite number, not {value!r}"
        return "" if kept else f"must be {self.range}, not {value!r}"

    def parse(self, text: str) -> Any:
        """The value that a text spells. Raises ValueError: what is wrong with it, as `fault` says it."""
        value: Any = text
        try:
            if self.type == "bool":
                value = {"true": True, "false": False}[text.lower()]
            elif self.type in ("int", "float"):
                value = {"int": int, "float": float}[self.type](text)
                if not math.isfinite(value):
                    raise FloatingPointError
        except FloatingPointError:
            raise ValueError(f"takes a finite number, not {text!r}") from None
        except (KeyError, ValueError, OverflowError):
            raise ValueError(f"takes a value of type {self.type}, not {text!r}") from None
        if fault := self.fault(value):
            raise ValueError(fault)
        return value


def settings_of(method: type) -> dict[str, Setting]:
    """The settings of a dataclass by name.

    Raises:
        TypeError: a field has no default, or its annotation is not one of those above.
    """
    return {
        each.name: _setting(each.name, annotation, each.default)
        for each, annotation in zip(
            dataclasses.fields(method), _annotations(method, dataclasses.fields(method)), strict=True
        )
    }


def faults(values: Mapping[str, Any], settings: Mapping[str, Setting]) -> list[str]:
    """A line for each value that is out of its setting's range, as in "epochs must be at least 1, not 0"."""
    return [
        f"{name} {fault}"
        for name, value in values.items()
        if name in settings and (fault := settings[name].fault(value))
    ]


def _annotations(method: type, fields: Iterable[dataclasses.Field[Any]]) -> list[Any]:
    """The fields' annotations. Names in them are looked up in the module of the class that has the field."""
    found: dict[str, Any] = {}
    for ancestor in reversed(method.__mro__):
        found |= {name: (ancestor, given) for name, given in inspect.get_annotations(ancestor).items()}
    resolved = []
    for each in fields:
        ancestor, given = found[each.name]
        carrier = type("carrier", (), {"__annotations__": {each.name: given}})
        names = vars(sys.modules[ancestor.__module__])
        try:
            resolved.append(get_type_hints(carrier, names, include_extras=True)[each.name])
        except NameError:
            resolved.append(given)
    return resolved


def _setting(name: str, annotation: Any, default: Any) -> Setting:
    choices: list[Any] = []
    bounds: dict[str, Any] = {}
    if get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
        for each in metadata:
            for bound in each if isinstance(each, GroupedMetadata) else (each,):
                bounds |= {key: getattr(bound, key) for key in BOUNDS if hasattr(bound, key)}
    if get_origin(annotation) is Literal:
        choices = list(get_args(annotation))
        annotation = type(choices[0])
    kind = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if kind not in TYPES or default is dataclasses.MISSING:
        raise TypeError(f"setting {name!r} must be int, float, bool or str and have a default")
    setting = Setting(kind, default, bounds, choices)
    if fault := setting.fault(default):
        raise TypeError(f"the default of setting {name!r} {fault}")
    return setting
