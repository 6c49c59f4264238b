"""Mean reciprocal rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks.retrieval import Ranked
from danlu.contracts import Answer, Metric


class Mrr(Metric):
    """One over the place of the first relevant passage, on average: 1 where it stands first, 0.5 where second."""

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("ranking",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """The figure of each query, [rows]."""
        return Ranked.read(answers, gold).reciprocal_rank()
