"""Ranking by score: the ROC curve and the area under it, with ties and weights, in plain numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from danlu.blocks.confusion import Numbers, label_names
from danlu.contracts import labels_of
from danlu.core.errors import DataError


@dataclass(frozen=True)
class Ranking:
    """The rows in descending order of one label's score.

    `order` and `positive` (whether the row truly has the label, in that order) have shape [rows]; `starts` are the
    places where a group of equal scores begins.
    """

    order: np.ndarray[Any, Any]
    positive: np.ndarray[Any, Any]
    starts: np.ndarray[Any, Any]

    def groups(self, weights: np.ndarray[Any, Any]) -> tuple[Numbers, Numbers]:
        """Weight of the positive and of the negative rows in each group of equal scores."""
        ordered = weights[self.order].astype(np.float64)
        positive = ordered * self.positive
        return np.add.reduceat(positive, self.starts), np.add.reduceat(ordered - positive, self.starts)

    def area(self, weights: np.ndarray[Any, Any]) -> float:
        """The chance that a positive row outranks a negative one, ties counting half (Hanley and McNeil, 1982).

        NaN when the weights leave no positive or no negative row.
        """
        positive, negative = self.groups(weights)
        pairs = positive.sum() * negative.sum()
        below = negative.sum() - np.cumsum(negative) + negative / 2
        return float(positive @ below / pairs) if pairs else float("nan")

    def curve(self, weights: np.ndarray[Any, Any]) -> tuple[Numbers, Numbers]:
        """False and true positive rate at every threshold, from (0, 0) to (1, 1)."""
        positive, negative = self.groups(weights)
        rates = [
            np.concatenate([[0.0], np.cumsum(side) / max(float(side.sum()), 1e-300)]) for side in (negative, positive)
        ]
        return rates[0], rates[1]


def rankings(answers: Sequence[Any], gold: Sequence[Any]) -> dict[str, Ranking]:
    """Label → its ranking, one against the rest. Raises DataError when an answer has no scores."""
    labels = label_names(answers, gold)
    if not all(answer.get("scores") for answer in answers):
        raise DataError("an answer has no scores to rank by", where="roc_auc", do="leave roc_auc out of the metrics")
    return {label: _ranking(label, answers, gold) for label in labels}


def _ranking(label: str, answers: Sequence[Any], gold: Sequence[Any]) -> Ranking:
    scores = np.array([answer["scores"].get(label, 0.0) for answer in answers], dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    positive = np.array([label in labels_of(g) for g in gold], dtype=bool)[order]
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    return Ranking(order, positive, starts)
