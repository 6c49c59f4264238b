"""Accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks.confusion import read_labels
from danlu.contracts import Answer, Metric


class Accuracy(Metric):
    """The share of rows whose label is right; where there can be several, of those that have all of them and no other.

    Misleading where one label is much more common than the others.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("label", "labels")}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """1 where the row is right, else 0; shape [rows]."""
        read = read_labels(answers, gold)
        wrong: np.ndarray[Any, Any] = (read.gold != read.given).reshape(len(gold), -1).any(axis=1)
        return 1.0 - wrong
