"""Scoring stored imputations again: by a judge, or with a metric, that was not there at the time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.grid.cell import PROTOCOL
from bench.metrics import score_all
from bench.metrics.scoring import scoring_of
from bench.problem.posing import pose
from bench.review.reproduction import check_facts, measured_on
from bench.store.cell_folder import CellFolder
from bench.store.provenance import rescoring
from bench.store.results import Result, read_result, upgrade

SAME_RMSE = 1e-6
"""How much the RMSE may differ, as a fraction: other versions of numpy add up in another order."""


def rescore(stored: Result, dataset: str | None = None, data_dir: Path | None = None) -> Result:
    """Score the imputation of a stored result again, and replace the stored numbers with the new ones.

    The RMSE needs no judge, so it must come out as it is stored. That proves that the imputation is the one
    that was scored.

    Args:
        dataset: the path of a data set that is known by its path only, which no record holds.

    Returns:
        The result with its new numbers.

    Raises:
        BenchError: the imputation is not kept or is not the one of the record, a stored number cannot be
            computed here, or the data differ. Then nothing is changed.
        Held: a run holds the cell.
    """
    folder = CellFolder(stored.path.parent, Path())
    if not stored.ok:
        raise BenchError(f"{stored.status} cells have no imputation to score")
    if stored.protocol != PROTOCOL:
        raise BenchError(f"it was measured by version {stored.protocol} of the protocol; run the cell again")
    if not folder.imputed.is_file():
        raise BenchError(f"no {folder.imputed.name} is kept beside its result; run the cell again")
    posed = pose(measured_on(stored, dataset), data_dir)
    check_facts(stored, posed.facts)
    with folder.claimed():
        document = folder.result()
        if document is None or document.get("key") != stored.key:
            raise BenchError("another run has replaced it meanwhile")
        try:
            scoring = scoring_of(posed, folder.imputed, stored.cell.dataset, data_dir)
        except (BenchError, OSError, ValueError) as error:
            name = folder.imputed.name
            raise BenchError(f"{name} cannot be scored ({error}); run the cell again with --rerun") from error
        scores = score_all(scoring)
        _check_scores(stored, scores)
        origin = rescoring(document.get("provenance", {}))
        folder.write_per_image(scoring.per_image)
        folder.replace({**upgrade(document), "metrics": scores, "provenance": origin})
    return read_result(stored.path)


def _check_scores(stored: Result, scores: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises BenchError if the imputation is not the one that was scored, or a stored number would go."""
    before, now = stored.metric("rmse").value, scores["rmse"]["value"]
    if before is None or now is None or not math.isclose(before, now, rel_tol=SAME_RMSE):
        raise BenchError(
            f"the imputation beside it is not the one that was scored (RMSE {before} in the record, {now} "
            "of the file); run the cell again with --rerun"
        )
    for name, metric in stored.metrics.items():
        if metric.value is not None and scores.get(name, {}).get("value") is None:
            why = scores.get(name, {}).get("reason", "no metric of this name is installed")
            raise BenchError(f"its {name} would be lost: {why}")
