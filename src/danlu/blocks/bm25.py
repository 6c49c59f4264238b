"""Okapi BM25: how much texts have in common by their words, rare ones counting more (Robertson and Zaragoza, 2009)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.blocks.grams import words

_K1, _B = 1.2, 0.75


class BM25:
    """The words of some texts, and where each stands. A Chinese or Japanese character is a word."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [Counter(words(text.lower())) for text in texts]
        lengths = np.array([one.total() for one in counted], dtype=np.float32)
        self._texts = len(texts)
        share = lengths / max(float(lengths.mean()), 1.0) if len(texts) else lengths
        places: dict[str, list[tuple[int, int]]] = {}
        for place, one in enumerate(counted):
            for word, count in one.items():
                places.setdefault(word, []).append((place, count))
        self._of: dict[str, tuple[Any, Any]] = {}
        for word, found in places.items():
            at, counts = np.array(found).T
            rare = math.log(1 + (self._texts - len(at) + 0.5) / (len(at) + 0.5))
            norm = counts + _K1 * (1 - _B + _B * share[at])
            self._of[word] = at, (rare * counts * (_K1 + 1) / norm).astype(np.float32)

    def scores(self, queries: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """[queries, texts], 0 where no word is shared."""
        found = np.zeros((len(queries), self._texts), dtype=np.float32)
        for row, query in zip(found, queries, strict=True):
            for word in words(query.lower()):
                if word in self._of:
                    at, worth = self._of[word]
                    row[at] += worth
        return found
