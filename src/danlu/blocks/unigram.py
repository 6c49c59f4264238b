"""Learn the pieces of a unigram model and their probabilities from counted words (Kudo, 2018).

The library `tokenizers` learns them too, but adds numbers in the order of a hash table and of threads, so that the same
texts give other pieces. Here every sum has one order. A substring that occurs is a number, and a place where it begins
is a row: then all words are gone through at once, a column for each length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

LONGEST = 16
"""Letters of a piece."""
_WORD = 32
"""Letters of a word that are learnt from; what comes after is another word."""
_LETTERS = 500_000
"""Letters of different words that are learnt from, the commonest words first."""
_SEEDS = 8
"""How many times as many substrings as pieces it begins with."""
_ROUNDS, _SHRINK = 2, 0.75
_NONE = -1
_NEVER = -1e9


def learn(words: Mapping[str, int], size: int) -> list[tuple[str, float]]:
    """At most `size` pieces with the logarithm of their probability: the letters first, then the others by it.

    Letters take at most half of the places; a word with a rarer one is not learnt from.
    """
    letters = Counter[str]()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    kept = sorted(letter for letter, _ in sorted(letters.items(), key=lambda e: (-e[1], e[0]))[: max(1, size // 2)])
    lattice = _Lattice(_few(words, set(kept)), kept)
    lattice.choose(_SEEDS * size)
    while True:
        for _ in range(_ROUNDS):
            lattice.learn()
        if lattice.many <= size:
            return lattice.pieces()
        lattice.prune(max(size, int(_SHRINK * lattice.many)))


def _few(words: Mapping[str, int], kept: set[str]) -> dict[str, int]:
    """The commonest words of known letters, in parts that are not too long, up to so many letters; and each letter."""
    chosen, room = Counter[str](kept), _LETTERS
    for word, count in sorted(words.items(), key=lambda e: (-e[1], e[0])):
        if set(word) <= kept:
            for begin in range(0, len(word), _WORD):
                chosen[word[begin : begin + _WORD]] += count
            room -= len(word)
        if room <= 0:
            break
    return dict(sorted(chosen.items()))


class _Lattice:
    """All ways to cut all words into pieces; `edges[place, length - 1]` is the number of the piece beginning there."""

    def __init__(self, words: Mapping[str, int], letters: list[str]) -> None:
        self._text, self._fixed = "".join(words), len(letters)
        lengths = np.array([len(word) for word in words], np.int64)
        self._counts = np.array(list(words.values()), np.float64)
        self._begins = np.concatenate([[0], lengths.cumsum()])[:-1]
        self._lengths = lengths
        weights = self._counts.repeat(lengths)
        left = np.concatenate([np.arange(n, 0, -1) for n in lengths]) if len(lengths) else lengths
        order = {letter: place for place, letter in enumerate(letters)}
        ids = np.array([order[letter] for letter in self._text], np.int64)
        self._first = {place: (begin, 1) for begin, place in reversed(list(enumerate(ids.tolist())))}
        self.edges = np.full((len(ids), LONGEST), _NONE, np.int64)
        self.edges[:, 0] = ids
        self.frequency = [np.bincount(ids, weights, self._fixed)]
        self._span = [np.ones(self._fixed, np.int64)]
        self._grow(left, weights)

    def _grow(self, left: Any, weights: Any) -> None:
        """Number the substrings of every length that occur twice, each by the two that are one shorter."""
        total = self._fixed
        for length in range(2, LONGEST + 1):
            here = self.edges[:-1, length - 2]
            after = self.edges[1:, length - 2]
            places = np.flatnonzero((left[:-1] >= length) & (here != _NONE) & (after != _NONE))
            if not len(places):
                return
            keys = here[places] * (total + 1) + after[places]
            _, first, which = np.unique(keys, return_index=True, return_inverse=True)
            frequency = np.bincount(which, weights[places])
            often = frequency >= 2
            number = np.where(often, total + np.cumsum(often) - 1, _NONE)
            self.edges[places, length - 1] = number[which]
            self._first |= zip(
                number[often].tolist(), ((p, length) for p in places[first[often]].tolist()), strict=True
            )
            self.frequency.append(frequency[often])
            self._span.append(np.full(int(often.sum()), length, np.int64))
            total += int(often.sum())

    def choose(self, most: int) -> None:
        """Keep the letters and those substrings that cover most text; all begin with their share of it."""
        frequency, span = np.concatenate(self.frequency), np.concatenate(self._span)
        worth = frequency * span
        order = np.lexsort((np.arange(len(worth)), -worth))
        others = order[order >= self._fixed][: max(0, most - self._fixed)]
        self._keep(np.sort(np.concatenate([np.arange(self._fixed), others])))
        share = np.maximum(worth[self._old], 1e-3)
        self.scores = np.log(share / share.sum())

    def _keep(self, old: Any) -> None:
        """Leave only these pieces; they are numbered anew, in the same order."""
        number = np.full(len(self._first) + 1, _NONE, np.int64)
        number[old] = np.arange(len(old))
        self.edges = number[self.edges]  # what is no piece is the last number, which stays none
        self._first = {place: self._first[one] for place, one in enumerate(old.tolist())}
        self._old = old

    @property
    def many(self) -> int:
        """How many pieces there are."""
        return len(self._first)

    def learn(self) -> None:
        """Expectation and maximisation: how often each piece is used, over all ways to cut, is its new share."""
        self.expected = self._expected()
        share = np.maximum(self.expected, 1e-3)
        self.scores = np.log(share / share.sum())

    def _scored(self, places: Any, length: int) -> Any:
        pieces = self.edges[places, length - 1]
        return np.where(pieces == _NONE, _NEVER, self.scores[pieces])

    def _expected(self) -> Any:
        begins, lengths = self._begins, self._lengths
        nodes = begins + np.arange(len(begins))  # a word of n letters has n + 1 places between them
        forward, backward = (np.full(len(self._text) + len(begins), _NEVER) for _ in range(2))
        forward[nodes], backward[nodes + lengths] = 0.0, 0.0
        for end in range(1, int(lengths.max(initial=0)) + 1):
            long = lengths >= end
            at, node = begins[long] + end, nodes[long] + end
            reach = range(1, min(end, LONGEST) + 1)
            forward[node] = _log_sum([forward[node - n] + self._scored(at - n, n) for n in reach])
            at, node = at - 2 * end + lengths[long], node - 2 * end + lengths[long]
            backward[node] = _log_sum([backward[node + n] + self._scored(at, n) for n in reach])
        log_whole = forward[nodes + lengths]
        found = np.zeros(self.many)
        word = np.arange(len(begins)).repeat(lengths)
        for n in range(1, LONGEST + 1):
            places = np.flatnonzero(self.edges[:, n - 1] != _NONE)
            node = places + word[places]
            pieces = self.edges[places, n - 1]
            log_way = forward[node] + self.scores[pieces] + backward[node + n] - log_whole[word[places]]
            found += np.bincount(pieces, np.exp(log_way) * self._counts[word[places]], self.many)
        return found

    def prune(self, size: int) -> None:
        """Leave the letters and the pieces whose loss would cost the most: used often, and dear to spell otherwise."""
        places, spans = (np.array(column) for column in zip(*(self._first[k] for k in range(self.many)), strict=True))
        best = np.full((self.many, LONGEST + 1), _NEVER)
        best[:, 0] = 0.0
        for end in range(1, LONGEST + 1):
            rows = np.flatnonzero(spans >= end)
            for n in range(1, end + 1):
                through = best[rows, end - n] + self._scored(places[rows] + end - n, n)
                through[(n == spans[rows])] = _NEVER  # not by the piece itself
                best[rows, end] = np.maximum(best[rows, end], through)
        loss = self.expected * (self.scores - best[np.arange(self.many), spans])
        loss[: self._fixed] = np.inf
        order = np.lexsort((np.arange(self.many), -loss))
        self._keep(np.sort(order[:size]))
        self.scores = self.scores[self._old]

    def pieces(self) -> list[tuple[str, float]]:
        """Every piece as text with its score, rounded so that another processor's last bit changes nothing."""
        told = [
            (self._text[p : p + n], round(float(s), 5)) for (p, n), s in zip(self._spans(), self.scores, strict=True)
        ]
        return told[: self._fixed] + sorted(told[self._fixed :], key=lambda piece: (-piece[1], piece[0]))

    def _spans(self) -> list[tuple[int, int]]:
        return [self._first[k] for k in range(self.many)]


def _log_sum(values: list[Any]) -> Any:
    every = np.stack(values)
    top = every.max(0)
    return top + np.log(np.exp(every - top).sum(0))
