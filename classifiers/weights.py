"""Weights on disk: safetensors in parts that fit a repository, each with the same facts as JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

PART_BYTES = 15_500_000
PACKAGED = Path(__file__).parent / "weights"


class WeightsError(Exception):
    """A part is missing, damaged or of another set; `str(error)` is one line naming the file."""


def save(
    folder: Path, name: str, state: Mapping[str, Tensor], facts: Mapping[str, Any], half: bool = False
) -> list[Path]:
    """Write weights as `NAME.safetensors`, or as `NAME-1of2.safetensors`, ... if they are large.

    Args:
        state: a module's `state_dict()`.
        facts: what else the file shall say, as JSON; "weights" (their hash) and "precision" are added.
        half: keep floating-point tensors in float16.

    Returns:
        The files, in order. Each appears in one atomic step.
    """
    kept = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
    stored = {key: _narrow(tensor) if half else tensor for key, tensor in kept.items()}
    facts = {**facts, "weights": fingerprint(stored), "precision": "float16" if half else "float32"}
    parts = _split(stored)
    names = [f"-{i + 1}of{len(parts)}" if len(parts) > 1 else "" for i in range(len(parts))]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}{suffix}.safetensors" for suffix in names]
    for old in _files(folder, name):
        if old not in paths:
            old.unlink()
    for i, (path, part) in enumerate(zip(paths, parts, strict=True)):
        metadata = {"facts": json.dumps(facts, sort_keys=True), "part": str(i + 1), "parts": str(len(parts))}
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        safetensors.torch.save_file(part, partial, metadata)
        partial.chmod(0o644)
        partial.replace(path)
    return paths


def load(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save` wrote.

    Returns:
        The state on the CPU, tensors in float16 as float32, and the facts.

    Raises:
        FileNotFoundError: there is no part at all.
        WeightsError: a part is missing, truncated, altered, or belongs to other weights.
    """
    paths = _files(folder, name)
    if not paths:
        raise FileNotFoundError(f"no weights named {name} in {folder}")
    state: dict[str, Tensor] = {}
    facts: dict[str, Any] | None = None
    for path in paths:
        tensors, metadata = _read(path)
        here = json.loads(metadata["facts"])
        if len(paths) != int(metadata["parts"]):
            raise WeightsError(
                f"{path} is one of {metadata['parts']} parts, but {len(paths)} are there; fetch them all"
            )
        if facts is not None and here != facts:
            raise WeightsError(f"{path} belongs to other weights than {paths[0].name}; fetch both again")
        facts = here
        state.update(tensors)
    assert facts is not None
    if fingerprint(state) != facts["weights"]:
        names = ", ".join(path.name for path in paths)
        raise WeightsError(f"{folder}: {names} were altered (their hash differs); fetch or train them again")
    return {key: _widen(tensor) for key, tensor in state.items()}, facts


def rounded(state: Mapping[str, Tensor], half: bool) -> dict[str, Tensor]:
    """The state as it will be once saved and loaded, so that an accuracy can be measured on it."""
    return {key: _widen(_narrow(tensor)) if half else tensor for key, tensor in state.items()}


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """ "sha256:" and the hash over names, dtypes, shapes and bytes of all tensors, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return f"sha256:{digest.hexdigest()}"


def _narrow(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _widen(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _split(state: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name in sorted(state):
        tensor = state[name]
        if parts[-1] and size + tensor.nbytes > PART_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    return parts


def _files(folder: Path, name: str) -> list[Path]:
    return sorted([*folder.glob(f"{name}.safetensors"), *folder.glob(f"{name}-*of*.safetensors")])


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{path} cannot be read ({reason}); fetch or train it again") from error
    if not {"facts", "part", "parts"} <= metadata.keys():
        raise WeightsError(f"{path} says nothing about its weights; use a file that bench wrote")
    return tensors, metadata
