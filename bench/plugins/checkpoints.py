"""Checkpoints of a fit on disk: safetensors for the tensors, JSON for the rest, each written whole."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from bench.util.files import write_atomically, write_json

KEPT = 2

LONGEST_INTEGER = 10_000
"""Bits. Python does not read a longer number from JSON."""


class DiskCheckpoints:
    """Keeps the newest two checkpoints and every named state in one folder.

    A state is two files: NAME.safetensors, then NAME.json with the tensors' hash. The JSON is written
    last, so a state without it, or with tensors that do not match it, counts as not there.

    Attributes:
        seconds_before: how long the fit had run, in all the processes before this one, when it wrote
            what was read here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds_before = 0.0
        self._begun = time.monotonic()

    def save(self, state: Mapping[str, Any]) -> None:
        numbers = self._numbers()
        number = numbers[-1] + 1 if numbers else 1
        self._write(f"checkpoint-{number:06}", state)
        for old in numbers[: len(numbers) + 1 - KEPT]:
            for suffix in ("json", "safetensors"):
                (self.folder / f"checkpoint-{old:06}.{suffix}").unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        for number in reversed(self._numbers()):
            try:
                return self._read(f"checkpoint-{number:06}")
            except KeyError:
                continue
        return None

    def put(self, name: str, state: Mapping[str, Any]) -> None:
        self._write(f"kept-{name}", state)

    def get(self, name: str) -> dict[str, Any]:
        return self._read(f"kept-{name}")

    def _numbers(self) -> list[int]:
        names = (path.stem for path in self.folder.glob("checkpoint-*.json"))
        return sorted(int(name.removeprefix("checkpoint-")) for name in names)

    def _write(self, name: str, state: Mapping[str, Any]) -> None:
        tensors: dict[str, Tensor] = {}
        plain = _take_out(state, "", tensors)
        data = safetensors.torch.save(tensors)
        write_atomically(self.folder / f"{name}.safetensors", lambda file: file.write(data))
        seconds = self.seconds_before + time.monotonic() - self._begun
        record = {"sha256": hashlib.sha256(data).hexdigest(), "seconds": seconds, "state": plain}
        write_json(self.folder / f"{name}.json", record)

    def _read(self, name: str) -> dict[str, Any]:
        """The state. Raises KeyError if it is absent, cut off or altered."""
        try:
            record = json.loads((self.folder / f"{name}.json").read_text())
            data = (self.folder / f"{name}.safetensors").read_bytes()
            digest, seconds, plain = record["sha256"], float(record.get("seconds", 0)), record["state"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise KeyError(name) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise KeyError(name)
        self.seconds_before = max(self.seconds_before, seconds)
        state: dict[str, Any] = _put_back(plain, safetensors.torch.load(data))
        return state


def _take_out(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON, each tensor replaced by a reference into `tensors`.

    Dicts become lists of pairs, because an optimiser's keys are numbers and JSON's are not.

    Raises:
        TypeError: the value could not be read back.
    """
    if isinstance(value, Tensor):
        _refuse_unreadable(value, path)
        # Numbered, since different keys may spell one path ("a/b", or "a" then "b"; 1 and "1").
        name = f"{len(tensors)} {path}".encode(errors="replace").decode()
        # A copy: safetensors refuses tensors that share memory.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {
            "items": [
                [_key(key, path), _take_out(item, f"{path}/{key}", tensors)] for key, item in value.items()
            ]
        }
    if isinstance(value, list | tuple):
        return [_take_out(item, f"{path}/{place}", tensors) for place, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, int) and value.bit_length() > LONGEST_INTEGER:
        raise _cannot_hold(f"a whole number of more than {LONGEST_INTEGER} bits", path, "give a text")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise _cannot_hold(f"a {type(value).__name__}", path, "give tensors, numbers, texts, lists or dicts")


def _key(key: Any, path: str) -> Any:
    """A key of a dict, if it can be read back."""
    if isinstance(key, int) and key.bit_length() > LONGEST_INTEGER:
        raise _cannot_hold(f"a key of more than {LONGEST_INTEGER} bits", path, "give a text")
    if key is None or isinstance(key, bool | int | str) or (isinstance(key, float) and math.isfinite(key)):
        return key
    raise _cannot_hold(f"the key {key!r:.100}", path, "give keys that are texts or numbers")


def _refuse_unreadable(tensor: Tensor, path: str) -> None:
    """Raises TypeError if a tensor could not be read back as it is."""
    if tensor.is_nested:
        raise _cannot_hold("a nested tensor", path, "give a list of tensors")
    if tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        raise _cannot_hold(f"a tensor of layout {layout}", path, "give tensor.to_dense()")
    if tensor.is_meta:
        raise _cannot_hold("a tensor without data (device meta)", path, "give one with data")
    if tensor.is_quantized:
        raise _cannot_hold("a quantized tensor", path, "give tensor.dequantize()")
    if not _readable(tensor.dtype):
        advice = "give torch.view_as_real(tensor)" if tensor.is_complex() else "give another dtype"
        raise _cannot_hold(f"a tensor of {tensor.dtype}", path, advice)


@functools.cache
def _readable(dtype: torch.dtype) -> bool:
    """Whether safetensors writes such a tensor and reads it again; its versions differ in that."""
    try:
        data = safetensors.torch.save({"": torch.empty(4, dtype=dtype)})
        return safetensors.torch.load(data)[""].dtype == dtype
    except Exception:
        return False


def _cannot_hold(what: str, path: str, advice: str) -> TypeError:
    return TypeError(f"a checkpoint cannot hold {what} (at {path or 'the top'}); {advice}")


def _put_back(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(plain, list):
        return [_put_back(item, tensors) for item in plain]
    if isinstance(plain, dict):
        if "tensor" in plain:
            return tensors[plain["tensor"]]
        if "float" in plain:
            return float(plain["float"])
        return {key: _put_back(item, tensors) for key, item in plain["items"]}
    return plain
