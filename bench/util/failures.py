"""What a result records of an exception."""

from __future__ import annotations

import errno
import sys
import traceback
from typing import Any

MESSAGE_CHARACTERS = 500
TRACEBACK_CHARACTERS = 20_000

_SAID_WITHOUT_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def failure(error: BaseException, before: str = "") -> dict[str, Any]:
    """`status` ("failed" or "out-of-memory"), `error` on one line that starts with `before`, `traceback`."""
    text = " ".join(f"{before}{type(error).__name__}: {error}".split())
    trace = "".join(traceback.format_exception(error))
    return {
        "status": "out-of-memory" if for_want_of_memory(error) else "failed",
        "error": text[:MESSAGE_CHARACTERS],
        "traceback": trace[-TRACEBACK_CHARACTERS:],
    }


def for_want_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory ran out, on the CPU or the GPU; torch says so in several ways."""
    torch = sys.modules.get("torch")
    kinds = (MemoryError, torch.OutOfMemoryError) if torch is not None else (MemoryError,)
    if isinstance(error, kinds) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID_WITHOUT_MEMORY):
        return True
    return error.__cause__ is not None and for_want_of_memory(error.__cause__)
