"""Pearson's correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks import numbers
from danlu.contracts import Answer, Metric


class Pearson(Metric):
    """How nearly the answers lie on a rising line over the true numbers: 1 perfectly, 0 not at all.

    It does not see answers that are all too high or too flat; `mae` and `rmse` do.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("number",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """The numbers given and the true ones, [2, rows]."""
        return numbers.read(answers, gold)

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
        """Between -1 and 1; NaN where all answers, or all true numbers, are equal."""
        return numbers.correlation(read[0], read[1], weights)
