"""Preference accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks import preference_pairs as pairs
from danlu.contracts import Answer, Metric


class PreferenceAccuracy(Metric):
    """How often the better of two answers gets the higher score."""

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("preference",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """1 where the better answer of a row has the higher score, 0.5 where both have the same, [rows]."""
        margins = pairs.margins(answers, gold)
        return np.where(margins > 0, 1.0, np.where(margins == 0, 0.5, 0.0))

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
        """Between 0 and 1; 0.5 is chance."""
        return float(read @ weights / weights.sum())
