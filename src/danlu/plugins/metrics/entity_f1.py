"""F1 of whole entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from danlu.blocks.entities import spans
from danlu.contracts import Answer, Metric

Counts = np.ndarray[Any, np.dtype[np.float64]]


class _Read(NamedTuple):
    kinds: tuple[str, ...]
    counts: Counts
    """Right, given and true entities of each row and kind, [rows, kinds, 3]."""


class EntityF1(Metric):
    """An entity is right when its type, its first and its last word are (conlleval; seqeval's default).

    The value is over all entities (micro); `precision`, `recall` and, of each type, all three are its parts.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("entities",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> _Read:
        """The counts of each row."""
        pairs = [({*spans(a["tags"])}, {*spans(g["tags"])}) for a, g in zip(answers, gold, strict=True)]
        kinds = tuple(sorted({span.kind for pair in pairs for side in pair for span in side}))
        place = {kind: k for k, kind in enumerate(kinds)}
        counts = np.zeros((len(pairs), len(kinds), 3))
        for row, (given, true) in enumerate(pairs):
            for column, some in enumerate((given & true, given, true)):
                for span in some:
                    counts[row, place[span.kind], column] += 1
        return _Read(kinds, counts)

    def value(self, read: _Read, weights: np.ndarray[Any, Any]) -> dict[str, Any]:
        """Between 0 and 1; NaN where there is no entity at all."""
        summed = np.tensordot(weights, read.counts, 1)
        precision, recall, f1 = _ratios(summed.sum(0))
        parts = {kind: dict(zip(("precision", "recall", "f1"), _ratios(summed[k]), strict=True))
                 for k, kind in enumerate(read.kinds)}  # fmt: skip
        return {"value": f1, "precision": precision, "recall": recall, "types": parts}


def _ratios(counts: Counts) -> tuple[float, float, float]:
    right, given, true = (float(count) for count in counts)
    nothing = float("nan")
    return (
        right / given if given else nothing,
        right / true if true else nothing,
        2 * right / (given + true) if given + true else nothing,
    )
