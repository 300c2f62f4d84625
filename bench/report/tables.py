"""All tables of stored results: Tables 1-3 of the paper and the costs, for every group of results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.report.costs import cost_table
from bench.report.groups import Group
from bench.report.layout import Table
from bench.report.metrics import SCORES, scores_of
from bench.report.scores import ScoreTable


@dataclass(frozen=True)
class TableSet:
    """The tables of one group of results."""

    group: Group
    tables: tuple[Table, ...]


def build_tables(groups: Iterable[Group], compare: bool) -> list[TableSet]:
    """For every group, Tables 1-3, the tables of plugins' metrics, and the table of costs.

    Args:
        compare: set the paper's numbers beside ours.
    """
    return [
        TableSet(
            group,
            (
                *(
                    ScoreTable(group, compare and score in SCORES, score).build()
                    for score in scores_of(group)
                ),
                cost_table(group, len(scores_of(group)) + 1),
            ),
        )
        for group in groups
    ]
