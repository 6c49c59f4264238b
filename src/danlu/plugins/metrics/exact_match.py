"""Exact match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks import answer_text
from danlu.contracts import Answer, Metric


class ExactMatch(Metric):
    """The share of questions whose answer is a true one, word for word, as SQuAD reads them.

    Lower case, without punctuation and the articles a, an, the; where there is no answer, none must be given.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("span",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """1 or 0 for each row, [rows]."""
        pairs = zip(answers, gold, strict=True)
        return np.array([answer_text.best(answer_text.exact, a, g) for a, g in pairs])
