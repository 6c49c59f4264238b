"""How well vectors find one another: the place of the right one among all, by cosine. Only numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

_AT_ONCE = 1 << 24
"""Similarities held at a time."""


def places(queries: np.ndarray[Any, Any], candidates: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """For each query [n, d] how many candidates [n, d] are nearer than its own, which has the same place in the list.

    All are of length 1. One that is as near as the right one, such as a second copy of it, is not before it.
    """
    found = np.zeros(len(queries), dtype=np.int64)
    step = max(1, _AT_ONCE // max(len(candidates), 1))
    for start in range(0, len(queries), step):
        near = queries[start : start + step] @ candidates.T
        own = near[np.arange(len(near)), np.arange(start, start + len(near))]
        found[start : start + step] = (near > own[:, None] + 1e-6).sum(1)
    return found


def recall(found: np.ndarray[Any, Any], k: int, weights: np.ndarray[Any, Any]) -> float:
    """The share of the queries whose own candidate is among the first k; NaN where nothing is weighed."""
    whole = weights.sum()
    return float((found < k) @ weights / whole) if whole else float("nan")
