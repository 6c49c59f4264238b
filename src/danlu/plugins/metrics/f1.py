"""F1 (van Rijsbergen, 1979), the macro average being the mean of the labels' F1."""

from __future__ import annotations

from danlu.blocks.confusion import LabelCounts, LabelRatio, Numbers


class F1(LabelRatio):
    """The harmonic mean of precision and recall: 2 · hits / (true + given)."""

    def ratio(self, counted: LabelCounts) -> tuple[Numbers, Numbers]:
        return 2 * counted.hits, counted.given + counted.true
