"""Accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks.confusion import LabelPairs
from danlu.contracts import Answer, Metric


class Accuracy(Metric):
    """The share of rows whose label is right. Misleading where one label is much more common than the others."""

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("label",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """1 where the row is right, else 0; shape [rows]."""
        pairs = LabelPairs.read(answers, gold)
        right: np.ndarray[Any, Any] = pairs.gold == pairs.given
        return right.astype(np.float64)

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
        """Between 0 and 1."""
        return float(read @ weights / weights.sum())
