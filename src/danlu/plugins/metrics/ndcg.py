"""Normalised discounted cumulative gain (Järvelin and Kekäläinen, 2002)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks.retrieval import Ranked
from danlu.contracts import Answer, Metric


class Ndcg(Metric):
    """How near the first k passages come to the best order: relevant ones count the more, the higher they stand.

    Queries count alike. Figures of different numbers of candidates cannot be compared.
    """

    main: ClassVar[str] = "k"
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("ranking",)}

    k: int = Field(default=10, ge=1)
    """How many of the first passages are looked at."""

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """The figure of each query, [rows]."""
        return Ranked.read(answers, gold).ndcg(self.k)
