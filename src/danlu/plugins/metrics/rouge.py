"""ROUGE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks.grams import words
from danlu.blocks.overlap import grams_f1, subsequence_f1
from danlu.contracts import Answer, Metric


class Rouge(Metric):
    """Words that a summary shares with the true one (Lin, 2004): ROUGE-L, with ROUGE-1 and ROUGE-2 as its parts.

    F1 from 0 to 100, the mean of all rows; words in lower case without stemming, Chinese character by character.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("text",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """ROUGE-1, ROUGE-2 and ROUGE-L of each row, [rows, 3]."""
        pairs = [(words(a["text"].lower()), words(g["text"].lower())) for a, g in zip(answers, gold, strict=True)]
        return 100 * np.array([[grams_f1(*pair, 1), grams_f1(*pair, 2), subsequence_f1(*pair)] for pair in pairs])

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> dict[str, Any]:
        """Between 0 and 100."""
        one, two, longest = (weights @ read / weights.sum()).tolist()
        return {"value": longest, "rouge1": one, "rouge2": two}
