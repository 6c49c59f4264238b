"""Recall."""

from __future__ import annotations

from danlu.blocks.confusion import LabelRatio, Numbers


class Recall(LabelRatio):
    """Of the rows that truly have a label, the share that was given it."""

    def ratio(self, hits: Numbers, true: Numbers, given: Numbers) -> tuple[Numbers, Numbers]:
        return hits, true
