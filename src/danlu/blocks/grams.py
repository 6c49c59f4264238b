"""Words and pairs of words, weighed by how rare they are (TF-IDF), learnt from training texts; without torch.

A Chinese or Japanese character counts as a word, so that pairs of characters stand for words there; nobody has to say
which language it is.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from danlu.core.errors import DataError
from danlu.core.files import write_atomic

_FILE = "grams.json"
_CHARACTERS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CHARACTERS}]|[^\W{_CHARACTERS}]+(?:['’][^\W{_CHARACTERS}]+)*")


def grams(text: str, limit: int | None = None) -> list[str]:
    """The words of a text in lower case, at most `limit`, and the pairs of neighbours among them."""
    found = words(text.lower())[:limit]
    return [*found, *(f"{a} {b}" for a, b in pairwise(found))]


def words(text: str) -> list[str]:
    """The words of a text, a Chinese or Japanese character each for itself."""
    return _WORD.findall(text)


class GramProcessor:
    """Known grams and their inverse document frequency, `ln((1 + n) / (1 + df)) + 1` as in scikit-learn."""

    def __init__(self, names: Sequence[str], idf: Sequence[float]) -> None:
        self.names, self.idf = tuple(names), np.asarray(idf, dtype=np.float64)
        self._places = {name: place for place, name in enumerate(self.names)}
        self.pad: Mapping[str, float] = {"ids": len(self.names), "weights": 0.0}

    @classmethod
    def learn(cls, texts: Iterable[str], most: int) -> Self:
        """The `most` commonest grams that occur in the texts."""
        rows, frequency = 0, Counter[str]()
        for text in texts:
            rows += 1
            frequency.update(set(grams(text)))
        common = sorted(frequency.items(), key=lambda entry: (-entry[1], entry[0]))[:most]
        return cls([name for name, _ in common], [math.log((1 + rows) / (1 + df)) + 1 for _, df in common])

    def inputs(self, x: str | tuple[str, str], limit: int | None = None) -> dict[str, Any]:
        """`ids` int64 and `weights` float32 [grams]: (1 + ln count) × idf, of length 1 (L2) as a whole.

        Two texts are read as one. A text without a known gram gives the one id that stands for nothing, with weight 0.
        """
        text = x if isinstance(x, str) else "\n".join(x)
        counts = Counter(place for gram in grams(text, limit) if (place := self._places.get(gram)) is not None)
        if not counts:
            return {"ids": np.array([len(self.names)]), "weights": np.zeros(1, np.float32)}
        ids = np.array(sorted(counts), dtype=np.int64)
        weights = (1 + np.log([counts[place] for place in ids.tolist()])) * self.idf[ids]
        return {"ids": ids, "weights": (weights / np.linalg.norm(weights)).astype(np.float32)}

    def save(self, folder: Path) -> None:
        plain = {"grams": self.names, "idf": self.idf.tolist()}
        write_atomic(folder / _FILE, json.dumps(plain, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises DataError when the folder has no such vocabulary."""
        path = folder / _FILE
        try:
            plain = json.loads(path.read_text("utf-8"))
            return cls(plain["grams"], plain["idf"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the vocabulary can't be read: {error}", where=str(path)) from error
