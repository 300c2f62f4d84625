"""Whether the processor multiplies bfloat16, and the precision that `auto` stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.run.machine import machine_for, settle_precision
from bench.util.hardware import multiplies_bfloat16

ZEN_5 = {"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}
SAPPHIRE_RAPIDS = {"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": True}
HASWELL = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}
GRAVITON_3 = {"architecture": "aarch64", "neon": True, "bf16": True}
GRAVITON_2 = {"architecture": "aarch64", "neon": True, "bf16": False}


def with_processor(monkeypatch: pytest.MonkeyPatch, capabilities: Mapping[str, Any]) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


@pytest.mark.parametrize("capabilities", [ZEN_5, SAPPHIRE_RAPIDS, GRAVITON_3])
def test_processors_that_multiply_bfloat16(
    monkeypatch: pytest.MonkeyPatch, capabilities: Mapping[str, Any]
) -> None:
    with_processor(monkeypatch, capabilities)
    assert multiplies_bfloat16()
    assert settle_precision("auto", "cpu", bfloat16=True) == "bfloat16"
    assert settle_precision("auto", "cpu", bfloat16=False) == "float32"
    assert settle_precision("float32", "cpu", bfloat16=True) == "float32"
    # Asked for by hand, it is taken even by a method that is worse in it.
    assert settle_precision("bfloat16", "cpu", bfloat16=False) == "bfloat16"


@pytest.mark.parametrize("capabilities", [HASWELL, GRAVITON_2, {}])
def test_processors_that_do_not(monkeypatch: pytest.MonkeyPatch, capabilities: Mapping[str, Any]) -> None:
    with_processor(monkeypatch, capabilities)
    assert not multiplies_bfloat16()
    assert settle_precision("auto", "cpu", bfloat16=True) == "float32"
    assert settle_precision("bfloat16", "cpu", bfloat16=True) == "bfloat16"


def test_a_torch_that_cannot_tell_means_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not multiplies_bfloat16()


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the kernel tells the processor's flags here")
@pytest.mark.skipif(not hasattr(torch.cpu, "get_capabilities"), reason="this torch cannot tell")
def test_torch_and_the_kernel_agree_on_this_processor() -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split())
    assert multiplies_bfloat16() == bool(flags & {"amx_bf16", "avx512_bf16", "bf16"})


def test_auto_stays_until_the_method_is_known() -> None:
    assert machine_for("cpu", "auto", 1, None, None).precision == "auto"
