"""Perplexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.contracts import Answer, Metric


class Perplexity(Metric):
    """exp of the mean −log p of a token: among how many equally likely tokens the model chooses, on average.

    It compares models of the same tokenizer only; `bits_per_character` compares any. Of a masked language model it is
    about the hidden tokens, each told from all the others.
    """

    better: ClassVar[str] = "lower"  # type: ignore[assignment]
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("likelihood",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """−log p and number of tokens of each row, [2, rows]."""
        return np.array([[a["nll"] for a in answers], [a["tokens"] for a in answers]], dtype=np.float64)

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
        """At least 1; NaN where no token was told."""
        nll, tokens = read @ weights
        return float(np.exp(nll / tokens)) if tokens else float("nan")
