"""Which texts are near a query without belonging to it: hard negatives, by rank and by distance to what belongs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Scores = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Rule:
    """What of the candidates of a query is taken, the nearest first unless `sampling` is random."""

    number: int
    range_min: int
    range_max: int
    relative_margin: float
    absolute_margin: float | None
    sampling: Literal["top", "random"]

    def limit(self, truth: float) -> float:
        """The greatest similarity of a negative beside a passage of this one that belongs to the query."""
        limits = [truth - self.relative_margin * abs(truth)]
        return min(limits + ([] if self.absolute_margin is None else [truth - self.absolute_margin]))


@dataclass
class Mined:
    """The places of the negatives of one query, how many of them were drawn by lot, and how many were too near."""

    places: list[int]
    lot: int = 0
    near: int = 0


def mine(scores: Scores, belong: Collection[int], rule: Rule, rng: np.random.Generator) -> Mined:
    """The negatives of a query with these similarities [texts] to all texts, of which some belong to it.

    `range_min` to `range_max` are ranks among those that do not belong. What is nearer than the limit is left out,
    since it may belong unsaid, and so is what has nothing in common (0 or less). Where too few are left, the others are
    drawn by lot from all that is not too near; fewer than `number` where there is no more.
    """
    others = np.setdiff1d(np.arange(len(scores)), np.fromiter(belong, dtype=np.int64))
    others = others[np.argsort(-scores[others], kind="stable")]
    limit = rule.limit(float(max(scores[place] for place in belong)))
    ranked = others[rule.range_min : rule.range_max]
    fit = ranked[(scores[ranked] <= limit) & (scores[ranked] > 0)]
    if rule.sampling == "random" and len(fit) > rule.number:
        fit = fit[np.sort(rng.choice(len(fit), rule.number, replace=False))]
    chosen = fit[: rule.number]
    rest = np.setdiff1d(others[scores[others] <= limit], chosen)
    lot = rng.choice(rest, min(rule.number - len(chosen), len(rest)), replace=False) if len(rest) else rest
    return Mined([*chosen.tolist(), *lot.tolist()], len(lot), int((scores[ranked] > limit).sum()))
