"""Mean absolute error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks import numbers
from danlu.contracts import Answer, Metric


class Mae(Metric):
    """How far an answer is from the true number on average, in the unit of the numbers."""

    better: ClassVar[str] = "lower"  # type: ignore[assignment]
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("number",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """The absolute error of each row, [rows]."""
        given, true = numbers.read(answers, gold)
        return np.asarray(np.abs(given - true))
