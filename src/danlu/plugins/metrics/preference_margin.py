"""Preference margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks import preference_pairs as pairs
from danlu.contracts import Answer, Metric


class PreferenceMargin(Metric):
    """By how much the better of two answers is preferred: the logarithm of the ratio of the two scores."""

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("preference",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """The margin of each row, [rows]."""
        return pairs.margins(answers, gold)

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
        """In nats; 0 is no preference, less than 0 the wrong one."""
        return float(read @ weights / weights.sum())
