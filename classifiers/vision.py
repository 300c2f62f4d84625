"""Imports torchvision and the packages that need it; nothing else here may import them."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []


def load(name: str) -> ModuleType:
    """Import torchvision, torch_fidelity, facenet_pytorch or one of their modules.

    Beside a CPU-only torch, torchvision's wheel can't load its compiled operators, and its import
    fails because `nms` has no schema. Only then are the schemas of `nms` and `qnms` declared.

    Raises:
        ImportError: the package is not installed.
    """
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _declared:
            raise
    for module in [each for each in sys.modules if each.split(".")[0] == "torchvision"]:
        del sys.modules[module]
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)  # type: ignore[no-untyped-call]
    # The schemas live as long as the library object does.
    _declared.append(library)
    return importlib.import_module(name)
