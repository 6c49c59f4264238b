"""Recall at k: is the right one of a pair among the k nearest?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks import matching
from danlu.contracts import Answer, Metric

_LOOKED_AT = (1, 5, 10)


class RetrievalRecall(Metric):
    """The share of rows whose other half is among the k nearest of all rows' other halves, mean of both directions.

    Its parts are both directions at 1, 5 and 10, and `chance`, what a blind order reaches: k of the number of rows.
    More rows make it harder, so numbers of test sets of another size do not compare.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("pair",)}

    k: int = Field(default=10, ge=1)
    """How many of the nearest are looked at."""

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """How many stand before the right one, there and back, [2, rows]; the truth itself has nothing before it."""
        read = np.zeros((2, len(answers)), dtype=np.int64)
        rows = [row for row, answer in enumerate(answers) if "pair" in answer]
        if rows:
            first, second = np.array([answers[row]["pair"] for row in rows], dtype=np.float64).transpose(1, 0, 2)
            read[:, rows] = matching.places(first, second), matching.places(second, first)
        return read

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> dict[str, Any]:
        """`value` at k, and the parts."""
        there, back = (
            {str(k): matching.recall(way, k, weights) for k in sorted({*_LOOKED_AT, self.k})} for way in read
        )
        mean = (there[str(self.k)] + back[str(self.k)]) / 2
        return {"value": mean, "there": there, "back": back, "chance": min(self.k / max(weights.sum(), 1), 1.0)}
