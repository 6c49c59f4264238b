"""Bits per character."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.contracts import Answer, Metric


class BitsPerCharacter(Metric):
    """−log₂ p of a text over its number of characters, so that models of different tokenizers can be compared."""

    better: ClassVar[str] = "lower"  # type: ignore[assignment]
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("likelihood",), "head": ("next",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """−log p and number of characters of each row, [2, rows]."""
        return np.array([[a["nll"] for a in answers], [a["characters"] for a in answers]], dtype=np.float64)

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
        """In bits; NaN where there is no character."""
        nll, characters = read @ weights
        return float(nll / np.log(2) / characters) if characters else float("nan")
