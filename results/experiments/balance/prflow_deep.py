"""PRFlow with MCFlow's H, one layer deeper: whether H's depth is what sets the two apart."""

from __future__ import annotations

from dataclasses import dataclass

from bench.methods.mcflow import MCFlow
from bench.methods.prflow import PRFlow


@dataclass
class PRFlowDeep(PRFlow):
    """PRFlow, prior and all, with the five linear layers of MCFlow's H."""

    def _widths(self, D: int) -> list[int]:
        return MCFlow._widths(self, D)
