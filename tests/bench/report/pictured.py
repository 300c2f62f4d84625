"""Stored results with images: real digits, and what a made-up method makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.report.stored import store
from tests.real import mnist_pixels

COUNT = 12


def store_with_images(root: Path, *documents: dict[str, Any], count: int = COUNT) -> Path:
    """Store each document and its `samples.npz`: complete test digits, masks by rate and seed, and imputed
    images that are the complete ones with noise where pixels are missing; more of it at higher RMSE."""
    store(root, *documents)
    complete = mnist_pixels("t10k", count).numpy()
    for path in sorted(root.rglob("result.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        cell = document["cell"]
        if document["status"] == "ok":
            pixels = complete if cell["dataset"] == "mnist" else coloured(complete)
            rmse = document["metrics"]["rmse"]["value"] or 0.1
            arrays: dict[str, Any] = samples(pixels, cell, rmse)
            np.savez_compressed(path.with_name("samples.npz"), **arrays)
    return root


def coloured(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 3, 32, 32) of (N, 1, 28, 28): each channel of another brightness."""
    padded = np.pad(grey, ((0, 0), (0, 0), (2, 2), (2, 2)))
    return np.concatenate([padded, padded // 2, 255 - padded], axis=1)


def samples(complete: NDArray[np.uint8], cell: dict[str, Any], rmse: float) -> dict[str, NDArray[Any]]:
    """What `samples.npz` holds for a cell."""
    masks = np.random.default_rng([cell["seed"], int(100 * cell["rate"])])
    observed = masks.random((len(complete), 1, *complete.shape[2:])) >= cell["rate"]
    noise = np.random.default_rng(len(cell["method"])).normal(0, 255 * rmse, complete.shape)
    noisy = np.clip(np.rint(complete + noise), 0, 255).astype(np.uint8)
    return {
        "index": np.arange(len(complete)) * 100,
        "complete": complete,
        "observed": observed,
        "imputed": np.where(observed, complete, noisy),
    }
