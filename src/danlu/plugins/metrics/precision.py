"""Precision."""

from __future__ import annotations

from danlu.blocks.confusion import LabelRatio, Numbers


class Precision(LabelRatio):
    """Of the rows that were given a label, the share that truly has it."""

    def ratio(self, hits: Numbers, true: Numbers, given: Numbers) -> tuple[Numbers, Numbers]:
        return hits, given
