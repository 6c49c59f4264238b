"""How much of what was hidden in pictures is filled in rightly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.contracts import Answer, Metric


class FillingR2(Metric):
    """1 less the squared error of the hidden pixels over that of filling them with the mean of the pixels seen: 0 is no
    better than that mean, 1 is perfect. It can be negative.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("picture",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """The error of each row, and that of the mean, [2, rows]."""
        return np.array([[a["error"] for a in answers], [a["error_of_mean"] for a in answers]], dtype=np.float64)

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
        """At most 1; NaN where every picture has one colour, so that the mean is right."""
        error, of_mean = read @ weights
        return float(1 - error / of_mean) if of_mean else float("nan")
