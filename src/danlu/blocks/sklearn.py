"""scikit-learn: classic models, taught here and kept as plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

_NEVER = -30.0
"""The intercept of a label without an example: its share of the scores is below 1e-12."""


def logistic_regression(
    ids: np.ndarray[Any, Any],
    weights: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    shape: tuple[int, int],
    c: float,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Coefficients [features, labels] and intercepts [labels] of a softmax over linear scores.

    Labels that can hold together, `labels` [n, labels] of 0 and 1, are each learnt by themselves.
    `ids` and `weights` [n, k] are sparse rows, `labels` [n] whole numbers, `shape` is (features, labels), `c` the
    inverse of the L2 penalty's strength.
    """
    if labels.ndim == 2:
        each = [logistic_regression(ids, weights, one.astype(np.int64), (shape[0], 2), c) for one in labels.T]
        return np.stack([w[:, 1] - w[:, 0] for w, _ in each], 1), np.array([b[1] - b[0] for _, b in each])
    starts = np.arange(0, ids.size + 1, ids.shape[1])
    table = csr_matrix((weights.ravel(), ids.ravel(), starts), shape=(len(ids), shape[0]))
    coefficients, intercepts = np.zeros(shape), np.full(shape[1], _NEVER)
    seen = np.unique(labels)
    if len(seen) == 1:
        intercepts[seen] = 0.0
        return coefficients, intercepts
    taught = LogisticRegression(C=c, max_iter=1000).fit(table, labels)
    both = len(seen) == 2  # scikit-learn keeps one row for two labels: the second's score, the first one's is 0
    coefficients[:, seen] = np.stack([0 * taught.coef_[0], taught.coef_[0]], 1) if both else taught.coef_.T
    intercepts[seen] = np.array([0.0, taught.intercept_[0]]) if both else taught.intercept_
    return coefficients, intercepts
