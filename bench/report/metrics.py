"""The metrics that have their own table and curves: the paper's three, then those of plugins."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from bench.report.groups import Group


@dataclass(frozen=True)
class Score:
    """A metric that has its own table.

    Attributes:
        short: its name in sentences and on axes.
        title: the table's heading, before the direction.
        lower_is_better: None if that is not known; then no method is the best.
        ratio: its scale depends on the judge, so only ratios can be compared between papers.
    """

    number: int
    name: str
    short: str
    title: str
    lower_is_better: bool | None
    ratio: bool = False

    @property
    def direction(self) -> str:
        """ " (lower is better)", " (higher is better)", or "" if that is not known."""
        if self.lower_is_better is None:
            return ""
        return " (lower is better)" if self.lower_is_better else " (higher is better)"

    @property
    def file_name(self) -> str:
        """A name for files and labels: letters, digits and hyphens, no two metrics' alike."""
        if self in SCORES:
            return self.name
        plain = re.sub(r"[^A-Za-z0-9]+", "-", self.name).strip("-")[:60]
        # Made from the name alone, so that a document's \input does not depend on the other metrics. The hash
        # tells apart names that differ in capitals only, which some disks take for the same.
        digest = hashlib.sha256(self.name.encode(errors="surrogatepass")).hexdigest()[:8]
        parts = ["metric", plain, *([digest] if plain.lower() != self.name else [])]
        return "-".join(part for part in parts if part)


SCORES = (
    Score(1, "rmse", "RMSE", "RMSE on the missing test pixels, values in [0, 1]", True),
    Score(2, "fid", "FID", "FID between imputed and complete test images", True, ratio=True),
    Score(3, "scc", "SCC", "SCC of the imputed test images", False),
)

SAID_IN_TITLE = re.compile(r"[\s,;:]*[(\[]?\b(lower|higher) is better\b[)\]]?\s*$", re.IGNORECASE)
"""A direction at the end of a plugin's title."""


def scores_of(group: Group) -> tuple[Score, ...]:
    """The paper's three metrics, then those that plugins brought, by name."""
    names = {name for result in group.results for name in result.metrics}
    others = sorted(names - {score.name for score in SCORES})
    return (*SCORES, *(_plugin_score(group, number, name) for number, name in enumerate(others, 4)))


def _plugin_score(group: Group, number: int, name: str) -> Score:
    metrics = [result.metrics[name] for result in group.results if name in result.metrics]
    title = next((metric.title for metric in metrics if metric.title), name)
    lower = next((one.lower_is_better for one in metrics if one.lower_is_better is not None), None)
    if lower is not None:
        # The heading adds the direction, so a title that says it too would say it twice.
        title = SAID_IN_TITLE.sub("", title) or name
    return Score(number, name, name, title, lower)
