"""The confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks.confusion import LabelPairs
from danlu.contracts import Answer, Metric


class Confusion(Metric):
    """How often each true label was given each label. It has no single number, so nothing can be required of it."""

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("label",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> LabelPairs:
        """True and given label of each row."""
        return LabelPairs.read(answers, gold)

    def value(self, read: LabelPairs, weights: np.ndarray[Any, Any]) -> dict[str, Any]:
        """`{names, matrix}`: `matrix[true][given]` counts rows, in the order of `names`."""
        return {"names": list(read.labels), "matrix": read.table(weights).tolist()}
