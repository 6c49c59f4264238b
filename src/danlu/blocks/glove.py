"""GloVe (Pennington, Socher and Manning, 2014): word vectors whose products are the logs of co-occurrence counts.

Pairs are counted by shifting the texts against themselves. AdaGrad takes the pairs in batches drawn anew in each pass:
errors of a batch are a sparse matrix, so that the gradients of all its words are two products, and the sums of their
squares two more. Within a batch the vectors stand still; for the words of a small batch that is nearly what one pair
after another would do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.integer[Any]]]
Sparse: TypeAlias = csr_matrix | csc_matrix
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

_PAIRS_AT_ONCE = 4_000_000
_BATCH = 16_384
_LEAST_BATCHES = 64
"""Batches a pass at least: the fewer pairs there are, the smaller the batches."""


def count(texts: Ids, words: int, window: int) -> csr_matrix:
    """How often words stand near each other, a pair `d` words apart for 1/d; symmetric, float32 [words, words].

    `texts` [n, length] are ids, with negative ones behind shorter texts.
    """
    total = _summed([], [], [], words)
    rows = max(1, _PAIRS_AT_ONCE // (texts.shape[1] * window))
    for start in range(0, len(texts), rows):
        total = total + _counted(texts[start : start + rows], words, window)
    return csr_matrix(total + total.T)


def _counted(texts: Ids, words: int, window: int) -> csr_matrix:
    left, right, weights = [], [], []
    for apart in range(1, min(window, texts.shape[1] - 1) + 1):
        there = texts[:, apart:] >= 0
        left.append(texts[:, :-apart][there])
        right.append(texts[:, apart:][there])
        weights.append(np.full(len(left[-1]), 1 / apart, dtype=np.float32))
    return _summed(left, right, weights, words)


def _summed(left: list[Ids], right: list[Ids], weights: list[Floats], words: int) -> csr_matrix:
    none = np.zeros(0, dtype=np.int64)
    pairs = (np.concatenate([none, *left]), np.concatenate([none, *right]))
    values = np.concatenate([np.zeros(0, np.float32), *weights])
    return csr_matrix(coo_matrix((values, pairs), shape=(words, words)))


@dataclass
class _Side:
    """The vectors of one side of the pairs with their biases, and the sums of squared gradients of both."""

    vectors: Floats
    biases: Floats
    of_vectors: Floats
    of_biases: Floats

    @classmethod
    def drawn(cls, words: int, size: int, rng: np.random.Generator) -> _Side:
        vectors = ((rng.random((words, size), dtype=np.float32) - 0.5) / size).astype(np.float32)
        return cls(vectors, np.zeros(words, np.float32), np.ones_like(vectors), np.ones(words, np.float32))

    def move(self, rows: Ids, slopes: Sparse, squares: Sparse, other: Floats, rate: float) -> None:
        """One step of AdaGrad for `rows`: `slopes` [rows, others] are dloss/dproduct, `other` [others, size]."""
        of_vectors = self.of_vectors[rows] + squares @ (other * other)
        of_biases = self.of_biases[rows] + np.asarray(squares.sum(1)).ravel()
        self.vectors[rows] -= rate * (slopes @ other) / np.sqrt(of_vectors)
        self.biases[rows] -= rate * np.asarray(slopes.sum(1)).ravel() / np.sqrt(of_biases)
        self.of_vectors[rows], self.of_biases[rows] = of_vectors, of_biases


def learn(counts: csr_matrix, *, size: int, passes: int, rate: float, most: float, power: float, seed: int) -> Floats:
    """Vectors [words, size], the sum of a word's two, after `passes` over all counted pairs.

    A pair counted x times weighs `min(1, (x / most) ** power)` in the squared error of its log.
    """
    rng = np.random.default_rng(seed)
    pairs = counts.tocoo()
    weights = np.minimum(1.0, (pairs.data / most) ** power).astype(np.float32)
    logs = np.log(pairs.data)
    left, right = (_Side.drawn(counts.shape[0], size, rng) for _ in range(2))
    batches = max(_LEAST_BATCHES, -(-len(logs) // _BATCH))
    for _ in range(passes):
        for some in np.array_split(rng.permutation(len(logs)), min(batches, len(logs))):
            _step(left, right, pairs.row[some], pairs.col[some], logs[some], weights[some], rate)
    found: Floats = left.vectors + right.vectors
    return found


def _step(left: _Side, right: _Side, i: Ids, j: Ids, logs: Floats, weights: Floats, rate: float) -> None:
    rows, i = np.unique(i, return_inverse=True)
    columns, j = np.unique(j, return_inverse=True)
    mine, others = left.vectors[rows], right.vectors[columns]
    errors = np.einsum("pd,pd->p", mine[i], others[j])
    errors += left.biases[rows][i] + right.biases[columns][j] - logs
    slopes = csr_matrix((weights * errors, (i, j)), shape=(len(rows), len(columns)))
    squares = slopes.power(2)
    left.move(rows, slopes, squares, others, rate)
    right.move(columns, slopes.T, squares.T, mine, rate)
