"""Words near each other in the table of word vectors that a model's folder holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from danlu.core.errors import DataError

_AT_ONCE = 256
_LETTERS = 3
_BEGINS = "▁Ġ"
"""What marks the begin of a word in the pieces of SentencePiece and byte-level BPE."""


class Neighbours:
    """The nearest words of a word by cosine, among those of at least three letters that are one token.

    Near is not the same in meaning: opposites often lie near one another (good and bad at 0.53 in MiniLM's table, good
    and excellent at 0.58), so a threshold decides.
    """

    def __init__(self, folder: Path) -> None:
        """Raises DataError when the folder holds no table of vectors with a vocabulary of the same size."""
        ids = _vocabulary(folder)
        table = _table(folder, 1 + max(ids.values()))
        by_word: dict[str, int] = {}
        marked = next((mark for mark in _BEGINS if sum(token.startswith(mark) for token in ids) > len(ids) / 10), "")
        for token, place in ids.items():
            word = token[len(marked) :] if token.startswith(marked) else ""
            if word.isalpha() and len(word) >= _LETTERS and word == word.casefold():
                by_word[word] = place
        if not by_word:
            raise DataError("its vocabulary has no words", where=str(folder), do="give a word list instead")
        self._words = list(by_word)
        self._place = {word: place for place, word in enumerate(self._words)}
        vectors = table[list(by_word.values())].astype(np.float32)
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-9)

    def of(self, words: Iterable[str], *, least: float, most: int) -> dict[str, list[str]]:
        """For each word that is known and has neighbours, those of a cosine of at least `least`, the nearest first."""
        asked = [word for word in dict.fromkeys(words) if word in self._place]
        found: dict[str, list[str]] = {}
        for start in range(0, len(asked), _AT_ONCE):
            few = asked[start : start + _AT_ONCE]
            rows = np.zeros((_AT_ONCE, self._vectors.shape[1]), np.float32)  # one shape, so that all round alike
            rows[: len(few)] = self._vectors[[self._place[word] for word in few]]
            near = np.round(rows @ self._vectors.T, 4)
            for word, cosines in zip(few, near, strict=False):
                cosines[self._place[word]] = -1
                places = np.flatnonzero(cosines >= least)
                best = places[np.argsort(-cosines[places], kind="stable")][:most]
                if len(best):
                    found[word] = [self._words[k] for k in best.tolist()]
        return found


def _vocabulary(folder: Path) -> dict[str, int]:
    """Token → id, from any of the folder's JSON files that is a tokenizer's."""
    for path in sorted(folder.rglob("*.json")):
        try:
            vocabulary = json.loads(path.read_text("utf-8"))["model"]["vocab"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(vocabulary, list):  # Unigram: pairs of token and score
            return {str(token): place for place, (token, _) in enumerate(vocabulary)}
        if vocabulary:
            return {str(token): int(place) for token, place in vocabulary.items()}
    raise DataError("no tokenizer.json with a vocabulary lies there", where=str(folder), do="name a model's folder")


def _table(folder: Path, ids: int) -> np.ndarray[Any, Any]:
    """The first tensor [ids or more, size] of an embedding, float16 or float32."""
    for path in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as file:
                shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - not a dict
                fits = [name for name, shape in shapes.items() if len(shape) == 2 and shape[0] >= ids]
                if fits:
                    chosen = min(fits, key=lambda name: ("embed" not in name.lower(), name))
                    return np.asarray(file.get_tensor(chosen))
        except (SafetensorError, OSError, TypeError) as error:
            raise DataError(f"the weights can't be read: {error}", where=str(path)) from error
    what = f"no safetensors file with a vector for each of {ids:,} tokens lies there"
    raise DataError(what, where=str(folder), do="asset:minilm or asset:wordllama have one")
