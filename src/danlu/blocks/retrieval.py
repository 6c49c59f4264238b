"""How well passages are sorted for a query: what recall@k, nDCG@k and MRR are made of.

An answer gives every passage of its query a score, `{"scores": [float, …]}`; the truth gives its relevance in the same
form, 0 for one that does not belong there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from danlu.contracts import Answer
from danlu.core.errors import DataError

Numbers = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Ranked:
    """The relevance of each query's passages in the order of their scores, [rows, passages], filled up with zeros."""

    gains: Numbers

    @classmethod
    def read(cls, answers: Sequence[Answer], gold: Sequence[Answer]) -> Ranked:
        """Passages of equal score stand in the worst order. Raises DataError where answers and truth do not fit."""
        if len(answers) != len(gold):
            raise DataError(f"there are {len(answers)} answers for {len(gold)} queries")
        width = max((len(one["scores"]) for one in gold), default=0)
        gains = np.zeros((len(gold), width))
        for row, (answer, truth) in enumerate(zip(answers, gold, strict=True)):
            given, true = np.array(answer["scores"], dtype=float), np.array(truth["scores"], dtype=float)
            if given.shape != true.shape:
                raise DataError(f"there are {len(given)} scores for {len(true)} passages", where=f"query {row}")
            gains[row, : len(true)] = true[np.lexsort((true, -given))]
        return cls(gains)

    def recall(self, k: int) -> Numbers:
        """The share of each query's relevant passages that stand among the first k."""
        relevant = self.gains > 0
        return np.asarray(relevant[:, :k].sum(1) / np.maximum(relevant.sum(1), 1))

    def ndcg(self, k: int) -> Numbers:
        """The discounted gain of the first k over the greatest there could be (Järvelin and Kekäläinen, 2002)."""
        best = -np.sort(-self.gains, axis=1)
        discount = 1 / np.log2(np.arange(2, self.gains.shape[1] + 2))
        given, ideal = ((gains * discount)[:, :k].sum(1) for gains in (self.gains, best))
        return np.asarray(given / np.where(ideal > 0, ideal, 1.0))

    def reciprocal_rank(self) -> Numbers:
        """1 over the place of the first relevant passage; 0 where there is none."""
        relevant = self.gains > 0
        return np.where(relevant.any(1), 1 / (relevant.argmax(1) + 1.0), 0.0)

    def first(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The place, from 1, of the first relevant passage of each query; 0 where there is none."""
        relevant = self.gains > 0
        return np.where(relevant.any(1), relevant.argmax(1) + 1, 0)


def details(inputs: Sequence[Any], answers: Sequence[Answer], gold: Sequence[Answer], most: int) -> dict[str, Any]:
    """`{places, candidates, worst}`: how many queries have their first relevant passage at each place, how many
    passages a query has on average, and the queries where it stands lowest, at most so many, each with the passage
    that was put first and the most relevant one."""
    first = Ranked.read(answers, gold).first()
    counted = [{"place": int(place), "rows": int((first == place).sum())} for place in np.unique(first[first > 0])]
    order = np.argsort(-first, kind="stable")[:most]
    worst = [
        {
            "row": int(k),
            "place": int(first[k]),
            "query": inputs[k]["query"],
            "given": inputs[k]["passages"][int(np.argmax(answers[k]["scores"]))],
            "gold": inputs[k]["passages"][int(np.argmax(gold[k]["scores"]))],
        }
        for k in order
        if first[k] > 1
    ]
    return {"places": counted, "candidates": float(np.mean([len(one["scores"]) for one in gold])), "worst": worst}
