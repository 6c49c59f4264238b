"""How different two texts are."""

from __future__ import annotations

from collections import Counter

_LEAST = 1e-3
"""Of two texts that are not the same: more than what an exact form may be away."""


def distance(a: str, b: str) -> float:
    """1 − Dice's coefficient of the pairs of neighbouring characters, ends included: 0 the same, 1 none in common.

    Texts that differ in the order of such pairs alone are 0.001 apart.
    """
    if a == b:
        return 0.0
    one, other = (Counter(zip(f"\x02{text}", f"{text}\x03", strict=True)) for text in (a, b))
    return max(1 - 2 * (one & other).total() / (one.total() + other.total()), _LEAST)
