"""cleanlab: which labels are likely wrong (confident learning; Northcutt et al., 2021), with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from danlu.blocks.sklearn import cross_validated, text_features
from danlu.core.plugin import lazy

_rank: Any = lazy("cleanlab.rank", extra="cleaning")
_filter: Any = lazy("cleanlab.filter", extra="cleaning")

_NEAREST = 5
_ROWS = 256
"""Rows whose neighbours are looked for at once."""


@dataclass(frozen=True, slots=True)
class Suspects:
    """All rows, the likeliest wrong one first; the first `wrong` are those that confident learning takes for wrong.

    `probabilities` [n, labels] are the model's, of every row by a model that did not see it.
    """

    order: np.ndarray[Any, Any]
    wrong: int
    names: tuple[str, ...]
    labels: np.ndarray[Any, Any]
    probabilities: np.ndarray[Any, Any]
    rows: csr_matrix

    def likely(self, row: int) -> str:
        """The label that the model gives a row."""
        return self.names[int(self.probabilities[row].argmax())]

    def reasons(self, rows: Sequence[int]) -> list[str]:
        """Why each of these rows is suspected: what the model says, and what the nearest rows are labelled."""
        told = []
        for start in range(0, len(rows), _ROWS):
            some = np.asarray(rows[start : start + _ROWS])
            close = (self.rows[some] @ self.rows.T).toarray()
            close[np.arange(len(some)), some] = -1  # a row is not its own neighbour
            nearest = np.argsort(-close, axis=1, kind="stable")[:, :_NEAREST]
            told += [self._reason(int(row), near) for row, near in zip(some, nearest, strict=True)]
        return told

    def _reason(self, row: int, nearest: np.ndarray[Any, Any]) -> str:
        label, count = Counter(self.names[place] for place in self.labels[nearest].tolist()).most_common(1)[0]
        says = f"labelled {self.names[self.labels[row]]}, the model says {self.likely(row)}"
        sure = self.probabilities[row].max()
        return f"{says} with {sure:.2f}; {count} of the {len(nearest)} nearest are {label}"


def suspects(texts: Sequence[str], labels: Sequence[str], folds: np.ndarray[Any, Any]) -> Suspects:
    """Rank the rows by how likely their label is wrong, from predictions of `cross_validated`.

    `folds` [n] say which rows are predicted by one model, taught on all others. Raises MachineError where cleanlab is
    not installed. Needs two labels at least.
    """
    names, places = np.unique(np.array(labels, dtype=np.str_), return_inverse=True)
    rows = text_features(texts)
    probabilities = cross_validated(rows, places, folds)
    quality = _rank.get_label_quality_scores(places, probabilities, method="normalized_margin")
    wrong = np.asarray(_filter.find_label_issues(places, probabilities, n_jobs=1, verbose=False), dtype=bool)
    order = np.lexsort((np.arange(len(places)), quality, ~wrong))
    return Suspects(order, int(wrong.sum()), tuple(names.tolist()), places, probabilities, rows)
