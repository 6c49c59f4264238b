"""Naive Bayes in closed form: from counts of features under labels to linear scores."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


def counted(ids: Array, weights: Array, labels: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """The weight of every feature under every label, float64 of `shape` (features, labels), and the rows of each label.

    `ids` and `weights` [n, k] are sparse rows whose last feature stands for nothing, `labels` [n] whole numbers.
    """
    cells = ids * shape[1] + labels[:, None]
    counts = np.bincount(cells.ravel(), weights.ravel().astype(np.float64), shape[0] * shape[1]).reshape(shape)
    return counts, np.bincount(labels, minlength=shape[1])


def multinomial(counts: Array, rows: Array, smoothing: float) -> tuple[Array, Array]:
    """Coefficients [features, labels] and intercepts [labels]: log shares of features in a label, and of labels.

    A label without a row counts as half a row.
    """
    coefficients = _log_shares(counts[:-1] + smoothing)
    shares = np.maximum(rows, 0.5) / np.maximum(rows, 0.5).sum()
    return _with_nothing(coefficients), np.log(shares)


def complement(counts: Array, rows: Array, smoothing: float) -> tuple[Array, Array]:
    """The same from what is *not* of a label: its coefficient is minus the log share in all others (Rennie, 2003)."""
    others = counts[:-1].sum(1, keepdims=True) - counts[:-1]
    return _with_nothing(-_log_shares(others + smoothing)), np.zeros(len(rows))


def _log_shares(counts: Array) -> Array:
    found: Array = np.log(counts) - np.log(counts.sum(0))
    return found


def _with_nothing(coefficients: Array) -> Array:
    return np.concatenate([coefficients, np.zeros((1, coefficients.shape[1]))])
