"""Pairs of texts of which the second goes on with the first, or comes from elsewhere (Devlin et al., 2019)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from danlu.blocks.corpus import Corpus, Ids, Lazy
from danlu.contracts import Example
from danlu.core.errors import DataError

_FRAME = 3
"""Special tokens of a pair: one before it, one behind each half."""


class Pairs(Lazy):
    """The windows of a corpus's documents, each cut in two; made when they are asked for.

    A window is of one document, so what follows is its true continuation; half of the second halves are those of
    another window. Documents of a single token have nothing that follows, and are left out.
    """

    def __init__(
        self, corpus: Corpus, length: int, frame: tuple[int, int], make: Callable[[Pairs, int], Example]
    ) -> None:
        """`frame` is the ids that begin a text and that end one; `make(pairs, place)` gives a window's example.

        Raises DataError when there are no two windows.
        """
        self._corpus, self._frame, self._make = corpus, frame, make
        first = np.concatenate([[0], corpus.ends[:-1]])
        self._inner = length - _FRAME
        starts = [np.arange(begin, end, self._inner) for begin, end in zip(first, corpus.ends, strict=True)]
        self._starts = np.concatenate(starts)
        until = np.repeat(corpus.ends, [len(some) for some in starts])
        self._stops = np.minimum(self._starts + self._inner, until)
        kept = self._stops - self._starts >= 2 + _FRAME  # the special tokens of a whole text lie among them
        self._starts, self._stops = self._starts[kept], self._stops[kept]
        if len(self._starts) < 2:
            what = "there are no two texts long enough to be cut in two, so there is nothing to tell apart"
            raise DataError(what, where="the training rows", do="next_sentence=false, or longer texts")
        self.lengths = self._stops - self._starts + _FRAME

    def drawn(self, place: int, rng: np.random.Generator) -> tuple[Ids, Ids, int]:
        """The ids of a pair, of which half each belongs to (0 or 1), and whether the second is from elsewhere."""
        own = self._ids(place)
        cut = min(max(int(rng.integers(len(own) // 4, 3 * len(own) // 4 + 1)), 1), len(own) - 1)
        after, strange = own[cut:], int(rng.random() < 0.5)
        if strange:
            other = self._ids((place + int(rng.integers(1, len(self)))) % len(self))
            after = other[len(other) // 2 :]
        return *framed(own[:cut], after, self._frame, self._inner + _FRAME), strange

    def _ids(self, place: int) -> Ids:
        ids = np.array(self._corpus.ids[self._starts[place] : self._stops[place]], dtype=np.int64)
        return ids[~np.isin(ids, self._frame)]

    def made(self, place: int) -> Example:
        return self._make(self, place)


def framed(first: Any, then: Any, frame: tuple[int, int], most: int) -> tuple[Ids, Ids]:
    """`[begin] first [end] then [end]`, at most so many ids, and the half of each; the longer one is cut."""
    first, then = np.asarray(first, dtype=np.int64), np.asarray(then, dtype=np.int64)
    room = most - _FRAME
    if len(first) + len(then) > room:
        share = max(room - min(len(first), len(then)), room // 2)
        first, then = (one[:share] if len(one) > room - share else one for one in (first, then))
        then = then[: room - len(first)]
    begin, end = frame
    ids = np.concatenate([[begin], first, [end], then, [end]]).astype(np.int64)
    return ids, (np.arange(len(ids)) > len(first) + 1).astype(np.int64)
