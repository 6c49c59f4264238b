"""How well word vectors rank which words stand together in texts they were not taught with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.contracts import Answer, Metric


class CooccurrenceRank(Metric):
    """The chance that a word of a held-out text lies nearer to the words around it than a word drawn from the training
    texts does; 0.5 is guessing.

    Drawn as often as it is used, a common word gains nothing by being common: vectors taught with the same words in
    random order come out at 0.5. A text without two known words counts as 0.5.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("word_vectors",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """The mean of a text's words; 0 where the answer is about another text. Shape [rows]."""
        pairs = zip(answers, gold, strict=True)
        return np.array([answer["fit"] if answer.get("text") == truth["text"] else 0.0 for answer, truth in pairs])
