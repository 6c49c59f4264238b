"""Metrics with 95 % intervals, by a bootstrap of the rows.

The percentile method (Efron and Tibshirani, 1993, chapter 13). A draw of as many rows as there are, with replacement,
is a vector of how often each row was drawn; so a metric that takes weights is bootstrapped by calling it again. The
draws depend on the seed and the number of rows alone: two models judged on the same rows with the same seed see the
same draws, which makes their difference a paired one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from danlu.contracts import Answer, Metric
from danlu.core.canonical import plain
from danlu.core.errors import DataError

DRAWS = 1000
_Z = 1.959963984540054  # the 97.5th percentile of the normal distribution

Vector = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Score:
    """A metric's value, its interval (None where it has no single number), its parts, and the value in each draw."""

    value: float | None
    low: float | None
    high: float | None
    parts: Mapping[str, Any] = field(default_factory=dict)
    draws: Vector = field(default_factory=lambda: np.zeros(0), repr=False)

    def plain(self) -> dict[str, Any]:
        """`{value, low, high, parts}` in JSON values; what is undefined is None."""
        numbers = {"value": self.value, "low": self.low, "high": self.high, "parts": dict(self.parts)}
        told: dict[str, Any] = plain(numbers)
        return told


def resamples(rows: int, draws: int, seed: int) -> Iterator[Vector]:
    """How often each of the rows is drawn, `draws` times; each has shape [rows] and the sum `rows`."""
    rng = np.random.default_rng([seed, rows])
    for _ in range(draws):
        yield np.bincount(rng.integers(0, rows, rows), minlength=rows).astype(np.float64)


def score(metric: Metric, answers: Sequence[Answer], gold: Sequence[Answer], *, seed: int, draws: int = DRAWS) -> Score:
    """One metric of answers with its 95 % interval. Raises DataError when there is no row."""
    rows = len(answers)
    if not rows:
        raise DataError(f"there is no row to measure {metric.name} on", do="make the split larger")
    read = metric.read(answers, gold)
    whole = metric.value(read, np.ones(rows))
    value, parts = _headline(whole)
    if value is None:
        return Score(None, None, None, parts)
    drawn = np.array(
        [_headline(metric.value(read, weights))[0] for weights in resamples(rows, draws, seed)], dtype=np.float64
    )
    low, high = interval(drawn, value, rows)
    return Score(value, low, high, parts, drawn)


def _headline(whole: float | dict[str, Any]) -> tuple[float | None, dict[str, Any]]:
    if not isinstance(whole, dict):
        return float(whole), {}
    parts = {name: part for name, part in whole.items() if name != "value"}
    return (float(whole["value"]) if "value" in whole else None), parts


def interval(drawn: Vector, value: float, rows: int) -> tuple[float | None, float | None]:
    """The 2.5th and 97.5th percentile of the draws; (None, None) when no draw has a value.

    Draws of faultless answers are all faultless: where the value is 0 or 1 and every draw agrees, the open end is
    Wilson's bound for `rows` rows (exact for accuracy, near it for the others), so that 20 right of 20 is not called
    certain.
    """
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return None, None
    if value in (0.0, 1.0) and np.all(drawn == value):
        low, high = wilson(round(value * rows), rows)
        return min(low, value), max(high, value)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def wilson(hits: int, rows: int) -> tuple[float, float]:
    """Wilson's 95 % score interval for a share of `hits` in `rows` (Wilson, 1927)."""
    share, grain = hits / rows, _Z**2 / rows
    middle = (share + grain / 2) / (1 + grain)
    half = _Z / (1 + grain) * math.sqrt(share * (1 - share) / rows + grain / (4 * rows))
    return max(0.0, middle - half), min(1.0, middle + half)


def difference(one: Score, other: Score) -> dict[str, float | None]:
    """`{value, low, high}` of `one - other`, paired: both must come from the same rows, seed and number of draws."""
    if one.value is None or other.value is None:
        return {"value": None, "low": None, "high": None}
    drawn = one.draws - other.draws
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    told: dict[str, float | None] = plain({"value": one.value - other.value, "low": float(low), "high": float(high)})
    return told
