"""N-grams with modified Kneser–Ney smoothing (Chen and Goodman, 1998), over token ids, in sorted arrays.

Interpolated, with three discounts an order, estimated from how many n-grams occur once to four times. An n-gram of a
lower order counts for how many different tokens it follows; one at the beginning of a text, which can follow nothing,
for how often it occurs. The beginning of a text is a token of its own, which is never predicted.

An n-gram is known by `place of its first n-1 tokens × (tokens + 1) + last token`, in a sorted array; its place there is
its name for the next order. So all that can follow a context lie side by side, and a lookup is a binary search, done
for many positions at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

NONE = -1
_FALLBACK = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class KneserNey:
    """What was counted of `tokens` different ones; the lists begin with order 2 and end with the highest.

    `unigrams` [tokens] are probabilities. `keys` [n-grams] are the sorted names of an order, `shares` [n-grams] their
    discounted share of their context, `rests` [contexts] what the lower order gets in each context.
    """

    tokens: int
    unigrams: Floats
    keys: tuple[Ids, ...]
    shares: tuple[Floats, ...]
    rests: tuple[Floats, ...]

    @property
    def order(self) -> int:
        return len(self.keys) + 1

    @classmethod
    def learn(cls, ids: Ids, begins: Mask, tokens: int, order: int) -> Self:
        """From texts one after another: `ids` [places], and whether a text begins at each.

        Needs some 40 bytes a place, and keeps 12 for each different n-gram.
        """
        grams, places, keys = [ids], [np.zeros(0, np.int64)], []
        counts = [np.bincount(ids, minlength=tokens + 1)]
        age = np.arange(len(ids)) - np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0))
        for n in range(2, order + 1):
            there = age >= n - 2
            names = (_before(grams[-1], begins, tokens, n) * (tokens + 1) + ids)[there]
            found, first, which, times = np.unique(names, return_index=True, return_inverse=True, return_counts=True)
            grams.append(np.full(len(ids), NONE))
            grams[-1][there] = which
            places.append(np.flatnonzero(there)[first])
            keys.append(found)
            counts.append(times)
        for n in range(1, order):
            at_begin = age[places[n - 1]] == n - 2 if n > 1 else np.zeros(tokens + 1, dtype=bool)
            follows = np.bincount(grams[n - 1][places[n]], minlength=len(counts[n - 1]))
            counts[n - 1] = np.where(at_begin, counts[n - 1], follows)
        return cls._smoothed(tokens, keys, counts)

    @classmethod
    def _smoothed(cls, tokens: int, keys: Sequence[Ids], counts: Sequence[Ids]) -> Self:
        left = _discounted(counts[0][:tokens])
        total = max(1, int(counts[0][:tokens].sum()))
        unigrams = left / total + (1 - left.sum() / total) / tokens
        shares, rests = [], []
        for below, names, times in zip(counts, keys, counts[1:], strict=False):
            context, left = names // (tokens + 1), _discounted(times)
            of_context = np.bincount(context, times, minlength=len(below))
            kept = np.bincount(context, left, minlength=len(below))
            shares.append((left / of_context[context]).astype(np.float32))
            rests.append(np.where(of_context > 0, 1 - kept / np.maximum(of_context, 1), 1).astype(np.float32))
        return cls(tokens, unigrams.astype(np.float32), tuple(keys), tuple(shares), tuple(rests))

    def contexts(self, ids: Ids, begins: Mask) -> list[Ids]:
        """For each order from 2: the place of the context that ends at each place [places], `NONE` if never seen."""
        found = [ids]
        for n in range(2, self.order):
            found.append(self._find(n, _before(found[-1], begins, self.tokens, n), ids))
        return found[: self.order - 1]

    def before(self, ids: Ids, begins: Mask) -> list[Ids]:
        """`contexts` of the tokens that stand at the places themselves: those that end just before."""
        return [_before(found, begins, self.tokens, n) for n, found in enumerate(self.contexts(ids, begins), 2)]

    def probabilities(self, ids: Ids, contexts: Sequence[Ids]) -> Floats:
        """Of one token [places] in each context."""
        said = self.unigrams[ids]
        for n, context in enumerate(contexts, 2):
            share = _taken(self.shares[n - 2], self._find(n, context, ids), 0)
            said = share + _taken(self.rests[n - 2], context, 1) * said
        return said

    def distributions(self, contexts: Sequence[Ids], places: Ids) -> Floats:
        """Of every token in the contexts at some places: [places, tokens]; each row sums to 1."""
        said = np.tile(self.unigrams, (len(places), 1))
        for keys, shares, rests, ending in zip(self.keys, self.shares, self.rests, contexts, strict=True):
            context = ending[places]
            known = np.flatnonzero(context != NONE)
            said[known] *= rests[context[known], None]
            first, last = (np.searchsorted(keys, (context[known] + k) * (self.tokens + 1)) for k in (0, 1))
            many = last - first
            children = np.repeat(first - np.cumsum(many) + many, many) + np.arange(many.sum())
            said[np.repeat(known, many), keys[children] % (self.tokens + 1)] += shares[children]
        return said

    def _find(self, n: int, context: Ids, ids: Ids) -> Ids:
        """The place of n-grams among those of their order, `NONE` where they were never seen."""
        keys, names = self.keys[n - 2], context * (self.tokens + 1) + ids
        if not len(keys):
            return np.full(len(names), NONE)
        place = np.minimum(np.searchsorted(keys, names), len(keys) - 1)
        found: Ids = np.where((context != NONE) & (keys[place] == names), place, NONE)
        return found


def _before(grams: Ids, begins: Mask, tokens: int, n: int) -> Ids:
    """The (n-1)-grams that end one place before each; at the beginning of a text, the beginning itself, `tokens`."""
    found = np.concatenate([[NONE], grams[:-1]])
    found[begins] = tokens if n == 2 else NONE
    return found


def _taken(values: Floats, places: Ids, otherwise: float) -> Floats:
    """The values at some places, something else where there is none."""
    found = np.full(len(places), otherwise, dtype=np.float32)
    known = places != NONE
    found[known] = values[places[known]]
    return found


def _discounted(times: Ids) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Counts less the discount of those that occur once, twice, and oftener."""
    by = np.array([0.0, *discounts(times)])
    left: np.ndarray[Any, np.dtype[np.float64]] = times - by[np.minimum(times, 3)]
    return left


def discounts(times: Ids) -> tuple[float, float, float]:
    """The three discounts of an order; 0.5, 1 and 1.5 where its counts are too few to estimate them."""
    n1, n2, n3, n4 = (int((times == k).sum()) for k in range(1, 5))
    if not (n1 and n2 and n3):
        return _FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 <= by <= most for most, by in enumerate(found, 1)) else _FALLBACK
