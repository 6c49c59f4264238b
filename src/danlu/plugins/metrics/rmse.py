"""Root mean squared error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks import numbers
from danlu.contracts import Answer, Metric


class Rmse(Metric):
    """The root of the mean squared error, in the unit of the numbers: a large error counts for more than in `mae`."""

    better: ClassVar[str] = "lower"  # type: ignore[assignment]
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("number",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """The squared error of each row, [rows]."""
        given, true = numbers.read(answers, gold)
        return np.asarray(np.square(given - true))

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
        """At least 0."""
        return float(np.sqrt(read @ weights / weights.sum()))
