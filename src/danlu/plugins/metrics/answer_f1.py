"""F1 of the words of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks import answer_text
from danlu.contracts import Answer, Metric


class AnswerF1(Metric):
    """The mean F1 of the words that an answer shares with the true one it is nearest to, as SQuAD counts it.

    Lower case, without punctuation and the articles a, an, the; a Chinese character is a word. Where there is no
    answer, none given counts 1 and any other 0. `answered` and `unanswerable` are its parts: the same of the questions
    that have an answer, and of those that have none.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("span",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """The F1 of each row, and whether it has an answer, [rows, 2]."""
        pairs = zip(answers, gold, strict=True)
        return np.array([(answer_text.best(answer_text.f1, a, g), bool(g["text"])) for a, g in pairs], dtype=np.float64)

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> dict[str, Any]:
        """Between 0 and 1; a part of no rows is NaN."""
        f1, has = read[:, 0], read[:, 1]
        return {
            "value": _mean(f1, weights),
            "answered": _mean(f1, weights * has),
            "unanswerable": _mean(f1, weights * (1 - has)),
        }


def _mean(values: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
    return float(values @ weights / weights.sum()) if weights.sum() else float("nan")
