"""The classic baseline for text: TF-IDF of words and pairs of words, and logistic regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from danlu.blocks.linear_grams import Array, LinearGrams
from danlu.blocks.sklearn import logistic_regression


class TfidfLr(LinearGrams):
    """Logistic regression. Trains in seconds, and often is enough: a larger model should say by how much it is better.

    Labels that can hold together are each learnt by themselves.
    """

    known_as: ClassVar[Mapping[str, str]] = {"logistic_regression": "logistic regression on TF-IDF"}

    c: float = Field(default=10.0, gt=0)
    """The inverse of the penalty's strength."""

    def taught(self, ids: Array, weights: Array, labels: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        return logistic_regression(ids, weights, labels, shape, self.c)
