"""The area under the ROC curve (Hanley and McNeil, 1982)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks.roc import Ranking, rankings
from danlu.contracts import Answer, Metric


class RocAuc(Metric):
    """The chance that a row with the label is scored above one without it; 0.5 is guessing.

    Each label against the rest, then the plain mean of the labels; where one of two labels holds, both have the same
    number.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("label", "labels")}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> dict[str, Ranking]:
        """Label → the rows in the order of its score."""
        return rankings(answers, gold)

    def value(self, read: dict[str, Ranking], weights: np.ndarray[Any, Any]) -> dict[str, Any]:
        """`{value, labels: {label: area}}`; a label of all rows or of none has no area (NaN) and does not count."""
        areas = {label: ranking.area(weights) for label, ranking in read.items()}
        known = [area for area in areas.values() if not np.isnan(area)]
        return {"value": float(np.mean(known)) if known else float("nan"), "labels": areas}
