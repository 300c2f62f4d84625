"""Hand-written stored results for the tests of the reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.report.groups import group_results
from bench.report.layout import Table
from bench.report.tables import build_tables
from bench.store.results import read_results

SIZES = {"mnist": (60000, 10000), "cifar10": (50000, 10000), "celeba": (9000, 1000)}


def result(
    method: str,
    dataset: str = "mnist",
    rate: float = 0.8,
    seed: int = 0,
    rmse: float | None = 0.16,
    fid: float | None = 1.0,
    scc: float | None = 0.9,
    **changes: Any,
) -> dict[str, Any]:
    """The content of one `result.json`, as documented; `changes` replace its top-level parts;
    if both are dicts, only the given entries."""
    train, test = SIZES.get(dataset, (100, 10))
    document: dict[str, Any] = {
        "schema": 1,
        "status": "ok",
        "cell": {
            "method": method,
            "settings": {},
            "dataset": dataset,
            "mechanism": "pixel",
            "rate": rate,
            "seed": seed,
            "preset": "quick",
        },
        "problem": {
            "fingerprint": f"sha256:{dataset}",
            "observed": f"sha256:{dataset}-{rate}-{seed}",
            "train": train,
            "test": test,
            "official": True,
        },
        "metrics": {
            "rmse": _metric(rmse),
            "fid": _metric(fid) | {"floor": 0.0125, "judge": "lenet", "weights": "sha256:0123456789abcdef"},
            "scc": _metric(scc),
        },
        "cost": {
            "fit_seconds": 120.0,
            "steps": 9380,
            "impute_ms_per_image": 1.5,
            "peak_memory_mb": 512.0,
            "parameters": 1234567,
        },
        "provenance": {"machine": {"cpu": "A CPU (2 cores)", "gpu": None}, "threads": 2},
    }
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(document.get(name), dict)
        document[name] = document[name] | value if both else value
    return document


def failed(method: str, error: str, status: str = "failed", **where: Any) -> dict[str, Any]:
    """A cell that has no numbers."""
    document = result(method, **where)
    return document | {
        "status": status,
        "metrics": {},
        "cost": {},
        "error": error,
        "traceback": "Traceback ...",
    }


def store(root: Path, *documents: dict[str, Any]) -> Path:
    """Write each document where the harness would; returns the root."""
    for document in documents:
        cell = document["cell"]
        settings = ",".join(f"{name}={value}" for name, value in cell["settings"].items())
        folder = root / f"{cell['dataset']}/{cell['mechanism']}-{cell['rate']}"
        folder /= f"{cell['method']}@{settings}-{cell['preset']}/seed-{cell['seed']}"
        while (folder / "result.json").exists():
            folder = folder.with_name(folder.name + "x")
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(document), encoding="utf-8")
    return root


def tables_of(root: Path, *documents: dict[str, Any], compare: bool = False) -> dict[str, Table]:
    """The tables of these results, which make one group, by name."""
    found, _ = read_results(store(root, *documents))
    groups, _ = group_results(found)
    (tables,) = build_tables(groups, compare)
    return {table.name: table for table in tables.tables}


def best(table: Table) -> set[tuple[str, str, str]]:
    """What is bold: (data set, method, column)."""
    return {
        (one.dataset, one.method, column.head)
        for block in table.blocks
        for one in block
        for column, entry in zip(table.columns, one.entries, strict=True)
        if entry.best
    }


def _metric(value: float | None) -> dict[str, Any]:
    if value is None:
        return {"value": None, "reason": "FaceNet's weights are not here"}
    return {"value": value, "low": value - 0.01, "high": value + 0.01}
