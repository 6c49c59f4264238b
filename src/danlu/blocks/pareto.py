"""Pareto's front: what none beats in quality without a higher cost."""

from __future__ import annotations

from collections.abc import Iterable


def front(points: Iterable[tuple[int, float, float]], better: str) -> list[int]:
    """The numbers of the points `(number, cost, quality)` on the front, the cheapest first.

    `better` is which quality is: `higher` or `lower`.
    """
    sign = 1 if better == "higher" else -1
    kept: list[int] = []
    least = float("inf")
    for _, loss, number in sorted((cost, -sign * quality, number) for number, cost, quality in points):
        if loss < least:
            least = loss
            kept.append(number)
    return kept
