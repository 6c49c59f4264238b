"""Recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks.confusion import Average, LabelPairs, LabelSets, averaged, read_labels
from danlu.contracts import Answer, Metric


class Recall(Metric):
    """Of the rows that truly have a label, the share that was given it."""

    main: ClassVar[str] = "average"
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("label", "labels")}

    average: Average = "macro"
    """How the labels become one number: `macro` counts every label alike, `micro` every row, `weighted` every label by
    its rows. All three, and each label's own number, are reported; this one is the headline."""

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> LabelPairs | LabelSets:
        """True and given labels of each row."""
        return read_labels(answers, gold)

    def value(self, read: LabelPairs | LabelSets, weights: np.ndarray[Any, Any]) -> dict[str, Any]:
        """`{value, macro, micro, weighted, labels: {label: number}}`, each between 0 and 1."""
        counted = read.counts(weights)
        return averaged(counted.hits, counted.true, counted, self.average)
