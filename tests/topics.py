"""Texts of four topics, for word vectors: words of one topic stand together, words of two never do."""

from __future__ import annotations

import numpy as np

TOPICS = [
    ["king", "queen", "crown", "throne", "palace", "prince"],
    ["fish", "river", "boat", "water", "net", "shore"],
    ["bread", "oven", "flour", "baker", "dough", "salt"],
    ["horse", "saddle", "rider", "stable", "hoof", "rein"],
]
FILLING = ["the", "of", "and"]


def texts(rows: int = 400, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    made = []
    for k in range(rows):
        words = [*rng.choice(TOPICS[k % 4], 6), *rng.choice(FILLING, 2)]
        made.append(" ".join(rng.permutation(words)))
    return made


def shuffled(given: list[str], seed: int = 1) -> list[str]:
    """The same words as often as before, in random order over all texts."""
    lengths = [len(text.split()) for text in given]
    words = np.random.default_rng(seed).permutation(" ".join(given).split())
    return [" ".join(part) for part in np.split(words, np.cumsum(lengths)[:-1])]
