"""Spearman's rank correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks import numbers
from danlu.contracts import Answer, Metric


class Spearman(Metric):
    """Whether the answers sort the rows as the true numbers do: the correlation of their ranks (Spearman, 1904).

    The usual figure of semantic textual similarity, where the scale of the answers means little.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("number",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """For the numbers given and the true ones, the place of each among the different ones, [2, rows]."""
        return np.stack([np.unique(side, return_inverse=True)[1] for side in numbers.read(answers, gold)])

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
        """Between -1 and 1; NaN where all answers, or all true numbers, are equal. Ties share their mean rank."""
        given, true = (numbers.ranks(codes, weights) for codes in read)
        return numbers.correlation(given, true, weights)
