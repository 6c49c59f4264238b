"""Texts of different length laid into blocks of one length, whole: no text is cut, and none sees another."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

import numpy as np

from danlu.blocks.corpus import Ids, Lazy
from danlu.contracts import Example


class Bins(Lazy):
    """Blocks of at most `length` tokens as training examples, made when they are asked for.

    Each text goes where it leaves the least room, the longest first (best fit decreasing), so the same texts always
    lie in the same blocks.
    """

    def __init__(
        self,
        texts: Sequence[Ids],
        length: int | None,
        make: Callable[[Sequence[int]], Example],
        notes: Sequence[str] = (),
    ) -> None:
        """Without a `length` each text has a block of its own. `make(places)` gives the example of the texts at these
        places; `notes` are told when training begins."""
        self._make, self.notes = make, tuple(notes)
        sizes = [len(text) for text in texts]
        self._bins = best_fit(sizes, length) if length else [[place] for place in range(len(sizes))]
        self.lengths = np.array([sum(sizes[k] for k in places) for places in self._bins], dtype=np.int64)

    def made(self, place: int) -> Example:
        return self._make(self._bins[place])


def best_fit(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Places of things of these sizes, in bins of this room; each thing fits alone."""
    bins: list[list[int]] = []
    free: list[tuple[int, int]] = []
    for place in sorted(range(len(sizes)), key=lambda k: -sizes[k]):
        found = bisect_left(free, (sizes[place], -1))
        left, number = free.pop(found) if found < len(free) else (room, len(bins))
        if number == len(bins):
            bins.append([])
        bins[number].append(place)
        insort(free, (left - sizes[place], number))
    return bins
