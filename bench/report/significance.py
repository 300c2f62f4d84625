"""Which methods win: the one with the best mean, and those that a paired test cannot tell from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report.layout import Line
from bench.report.metrics import Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.05
FEWEST_SEEDS = 3
"""With two seeds the test has one degree of freedom: it would tell almost nothing apart."""


@dataclass(frozen=True)
class Verdict:
    """What a test of the best method against the others says.

    Attributes:
        tied: the methods that cannot be told from the best.
        tested: how many were compared with the best.
        untested: how many could not be compared, for lack of three common seeds or of the scores of images.
    """

    tied: frozenset[Line]
    tested: int
    untested: int


def against_best(best: Line, others: Sequence[Line], rate: float, score: Score) -> Verdict:
    """Compare the best method of a data set and rate with each of the others.

    The test is `paired_p_value`, paired and two-sided, at 5 %. It is over test images and seeds; for FID,
    which is of all images at once, over seeds. It is corrected for all pairs of methods, because the best
    method was chosen by its numbers.
    """
    if len(best.at(rate)) < FEWEST_SEEDS:
        return Verdict(frozenset(), 0, len(others))
    from bench.util.statistics import against_chosen, paired_p_value

    own = _scores(best, rate, score)
    compared: list[Line] = []
    p_values: list[float] = []
    for other in others:
        differences = _differences(own, _scores(other, rate, score) if own else {})
        if differences is not None:
            compared.append(other)
            p_values.append(paired_p_value(differences))
    adjusted = zip(compared, against_chosen(p_values), strict=True)
    tied = frozenset(line for line, p_value in adjusted if p_value > LEVEL)
    return Verdict(tied, len(compared), len(others) - len(compared))


def _scores(line: Line, rate: float, score: Score) -> dict[int, NDArray[np.float64]]:
    """Each test image's score, (N,), by seed; an FID as (1,). Seeds without scores are left out."""
    import numpy as np

    if score.ratio:
        values = {one.cell.seed: one.metric(score.name).value for one in line.at(rate)}
        return {seed: np.array([value]) for seed, value in values.items() if value is not None}
    found = ((result.cell.seed, result.per_image(score.name)) for result in line.at(rate) if result.ok)
    return {seed: scores for seed, scores in found if scores is not None}


def _differences(
    own: dict[int, NDArray[np.float64]], other: dict[int, NDArray[np.float64]]
) -> NDArray[np.float64] | None:
    """(S, N) over the seeds that both have; None if these are fewer than three, or if the images differ."""
    import numpy as np

    rows = [own[seed] - other[seed] for seed in own if seed in other and own[seed].shape == other[seed].shape]
    if len(rows) < FEWEST_SEEDS or len({len(row) for row in rows}) > 1:
        return None
    return np.stack(rows)
