"""A linear support vector machine over TF-IDF of words and pairs of words (Joachims, 1998)."""

from __future__ import annotations

from pydantic import Field

from danlu.blocks.linear_grams import Array, LinearGrams
from danlu.blocks.sklearn import linear_svm


class LinearSvm(LinearGrams):
    """The widest margin between the labels; its confidence is calibrated on rows that a part of it has not seen.

    A margin is no probability, so a logistic regression turns the margins of five folds into one (Platt, 1999), and is
    multiplied into the weights.
    """

    c: float = Field(default=0.3, gt=0)
    """The inverse of the penalty's strength."""

    def taught(self, ids: Array, weights: Array, labels: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        return linear_svm(ids, weights, labels, shape, self.c)
