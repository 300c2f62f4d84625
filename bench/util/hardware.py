"""What this machine's processor can do. torch is imported only when it must be asked."""

from __future__ import annotations

from collections.abc import Mapping

BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")
"""Instructions that multiply bfloat16, as PyTorch names them: the first two of x86, the last of Arm."""


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively: products are then faster in it than in float32.

    False where PyTorch cannot tell: 2.11 has no such question yet, 2.13 has.
    """
    import torch

    ask = getattr(torch.cpu, "get_capabilities", dict)
    capabilities: Mapping[str, object] = ask()
    return any(capabilities.get(name) for name in BFLOAT16)
