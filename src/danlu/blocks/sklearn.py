"""scikit-learn: classic models, taught here and kept as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC

from danlu.blocks.grams import grams

_MOST_FEATURES = 200_000
_NEVER = -30.0
"""The intercept of a label without an example: its share of the scores is below 1e-12."""
_FOLDS = 5
_LOOSE = 1.0
"""The inverse penalty of the regression that calibrates margins; it keeps separable ones finite."""


def logistic_regression(
    ids: np.ndarray[Any, Any],
    weights: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    shape: tuple[int, int],
    c: float,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Coefficients [features, labels] and intercepts [labels] of a softmax over linear scores.

    `ids` and `weights` [n, k] are sparse rows, `labels` [n] whole numbers, `shape` is (features, labels), `c` the
    inverse of the L2 penalty's strength.
    """
    return _regression(_sparse(ids, weights, shape[0]), labels, shape, c)


def _regression(
    table: Any, labels: np.ndarray[Any, Any], shape: tuple[int, int], c: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
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


def ridge(
    ids: np.ndarray[Any, Any], weights: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], features: int, alpha: float
) -> tuple[np.ndarray[Any, Any], float]:
    """Coefficients [features] and the intercept of a line through numbers `truth` [n]; `alpha` is the L2 penalty's
    strength, `ids` and `weights` [n, k] are sparse rows."""
    taught = Ridge(alpha=alpha).fit(_sparse(ids, weights, features), truth)
    return taught.coef_, float(taught.intercept_)


def _sparse(ids: np.ndarray[Any, Any], weights: np.ndarray[Any, Any], features: int) -> csr_matrix:
    starts = np.arange(0, ids.size + 1, ids.shape[1])
    return csr_matrix((weights.ravel(), ids.ravel(), starts), shape=(len(ids), features))


def linear_svm(
    ids: np.ndarray[Any, Any],
    weights: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    shape: tuple[int, int],
    c: float,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The same from margins (squared hinge, one label against the rest), calibrated to be a softmax of scores.

    Each of five folds gets its margins from a machine taught on the others; the logistic regression of the labels on
    them (Platt, 1999) is then applied to the machine of all rows, and both are one linear function.
    """
    table = _sparse(ids, weights, shape[0])
    folds = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = labels == label
        folds[own] = np.arange(own.sum()) % _FOLDS  # each label is spread evenly
    margins = np.empty((len(labels), shape[1]))
    for fold in np.unique(folds):
        asked = folds == fold
        coefficients, intercepts = _machine(table[~asked], labels[~asked], shape, c)
        margins[asked] = table[asked] @ coefficients + intercepts
    coefficients, intercepts = _machine(table, labels, shape, c)
    scale, shift = _regression(margins, labels, (shape[1], shape[1]), _LOOSE)
    return coefficients @ scale, intercepts @ scale + shift


def _machine(table: csr_matrix, labels: np.ndarray[Any, Any], shape: tuple[int, int], c: float) -> Any:
    coefficients, intercepts = np.zeros(shape), np.full(shape[1], -1.0)
    seen = np.unique(labels)
    if len(seen) < 2:
        intercepts[seen] = 1.0
        return coefficients, intercepts
    taught = LinearSVC(C=c, random_state=0).fit(table, labels)
    both = len(seen) == 2
    coefficients[:, seen] = np.stack([-taught.coef_[0], taught.coef_[0]], 1) if both else taught.coef_.T
    intercepts[seen] = taught.intercept_[0] * np.array([-1.0, 1.0]) if both else taught.intercept_
    return coefficients, intercepts


def cross_validated(
    rows: csr_matrix, labels: np.ndarray[Any, Any], folds: np.ndarray[Any, Any], c: float = 1.0
) -> np.ndarray[Any, Any]:
    """The probability [n, labels] of every label in each row, by models that were taught on the other folds.

    `rows` [n, features] are at least 0; `labels` and `folds` [n] whole numbers from 0. One model a label, on features
    that are weighed by how much oftener they come under it (NB-LR; Wang and Manning, 2012).
    """
    found = np.zeros((len(labels), labels.max() + 1))
    for fold in np.unique(folds):
        asked, taught = folds == fold, folds != fold
        for label in np.unique(labels[taught]):
            found[asked, label] = _one_against_all(rows[taught], labels[taught] == label, rows[asked], c)
    total = found.sum(1, keepdims=True)
    np.divide(found, total, out=found, where=total > 0)
    return found


def _one_against_all(rows: csr_matrix, mine: np.ndarray[Any, Any], asked: csr_matrix, c: float) -> Any:
    if mine.all():
        return np.ones(asked.shape[0])
    there = rows > 0
    with_me, without = (np.asarray(there[some].sum(0)).ravel() + 1.0 for some in (mine, ~mine))
    ratio = np.log((with_me / with_me.sum()) / (without / without.sum()))
    model = LogisticRegression(C=c, max_iter=1000).fit(rows.multiply(ratio).tocsr(), mine)
    return model.predict_proba(asked.multiply(ratio).tocsr())[:, 1]


def text_features(texts: Sequence[str]) -> csr_matrix:
    """Weights [n, features] of the words, pairs of words and runs of two to five letters in each text (TF-IDF)."""
    kinds = ({"analyzer": grams}, {"analyzer": "char_wb", "ngram_range": (2, 5)})
    tables = [
        TfidfVectorizer(sublinear_tf=True, dtype=np.float32, max_features=_MOST_FEATURES, **kind).fit_transform(texts)
        for kind in kinds
    ]
    return csr_matrix(hstack(tables))
