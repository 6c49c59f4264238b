"""Recall."""

from __future__ import annotations

from danlu.blocks.confusion import LabelCounts, LabelRatio, Numbers


class Recall(LabelRatio):
    """Of the rows that truly have a label, the share that was given it."""

    def ratio(self, counted: LabelCounts) -> tuple[Numbers, Numbers]:
        return counted.hits, counted.true
