"""Learn word pieces from counted words: the commonest neighbours are joined, again and again (Sennrich et al., 2016).

The library `tokenizers` learns them too, but numbers the letters in the order of a hash table that is another in every
process, so that the same texts give other pieces. Here the same counts always give the same pieces in the same order.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

INSIDE = "##"
"""How a piece begins that does not begin a word."""
LONGEST = 100
"""Characters; a longer word is not learnt from."""
_LEAST = 2
"""How often a pair must occur to be joined."""


def learn(words: Mapping[str, int], size: int) -> list[str]:
    """At most `size` pieces: letters, alone and inside a word, then what was joined, in that order.

    Letters take at most half of the places, the commonest first; a word with a rarer one is not learnt from.
    """
    letters = Counter[str]()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    kept = sorted(letter for letter, _ in sorted(letters.items(), key=lambda e: (-e[1], e[0]))[: size // 4])
    pieces = dict.fromkeys([*kept, *(INSIDE + letter for letter in kept)])
    known = {w: n for w, n in words.items() if len(w) <= LONGEST and set(w) <= set(kept)}
    for joined in _joined(known):
        if len(pieces) >= size:
            break
        pieces[joined] = None
    return list(pieces)


class _Pairs:
    """How often two pieces are neighbours, and in which words."""

    def __init__(self) -> None:
        self.count: Counter[tuple[str, str]] = Counter()
        self.words: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        self.heap: list[tuple[int, tuple[str, str]]] = []

    def add(self, pieces: list[str], word: int, count: int) -> set[tuple[str, str]]:
        pairs = list(pairwise(pieces))
        for pair in pairs:
            self.count[pair] += count
            if count > 0:
                self.words[pair].add(word)
        return set(pairs)

    def offer(self, pairs: Iterable[tuple[str, str]]) -> None:
        for pair in pairs:
            if self.count[pair] >= _LEAST:
                heapq.heappush(self.heap, (-self.count[pair], pair))

    def commonest(self) -> tuple[str, str] | None:
        """The pair that occurs most often, of equals the first by alphabet; outdated counts are left out."""
        while self.heap:
            count, pair = heapq.heappop(self.heap)
            if self.count[pair] == -count:
                return pair
        return None


def _joined(words: Mapping[str, int]) -> Iterable[str]:
    """Pieces in the order in which they are joined."""
    spelt = [[word[0], *(INSIDE + letter for letter in word[1:])] for word in words]
    counts, pairs = list(words.values()), _Pairs()
    for place, pieces in enumerate(spelt):
        pairs.add(pieces, place, counts[place])
    pairs.offer(list(pairs.count))
    while pair := pairs.commonest():
        joined = pair[0] + pair[1].removeprefix(INSIDE)
        yield joined
        touched: set[tuple[str, str]] = set()
        for place in pairs.words.pop(pair):
            touched |= pairs.add(spelt[place], place, -counts[place])
            spelt[place] = _join(spelt[place], pair, joined)
            touched |= pairs.add(spelt[place], place, counts[place])
        pairs.offer(touched - {pair})


def _join(pieces: list[str], pair: tuple[str, str], joined: str) -> list[str]:
    made: list[str] = []
    for piece in pieces:
        if made and (made[-1], piece) == pair:
            made[-1] = joined
        else:
            made.append(piece)
    return made
