"""Precision."""

from __future__ import annotations

from danlu.blocks.confusion import LabelCounts, LabelRatio, Numbers


class Precision(LabelRatio):
    """Of the rows that were given a label, the share that truly has it."""

    def ratio(self, counted: LabelCounts) -> tuple[Numbers, Numbers]:
        return counted.hits, counted.given
