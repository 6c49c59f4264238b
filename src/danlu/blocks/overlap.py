"""What two sequences of words have in common: n-grams, and the longest common subsequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def grams_f1(a: Sequence[str], b: Sequence[str], order: int) -> float:
    """F1 of the n-grams of two sequences; 0 where either has none."""
    one, other = (Counter(zip(*(side[k:] for k in range(order)), strict=False)) for side in (a, b))
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0


def subsequence_f1(a: Sequence[str], b: Sequence[str]) -> float:
    """F1 of the longest common subsequence; 0 where both are empty."""
    return 2 * common_subsequence(a, b) / (len(a) + len(b)) if a or b else 0.0


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence, a bit for each place of `a` (Hyyrö, 2004)."""
    places: dict[str, int] = {}
    for k, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << k
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        hit = row & places.get(word, 0)
        row = (row + hit | row - hit) & full
    return len(a) - row.bit_count()
