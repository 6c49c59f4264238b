"""chrF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from danlu.blocks import sacrebleu
from danlu.contracts import Answer, Metric


class Chrf(Metric):
    """Runs of one to six characters that a translation shares with the true one, F2 (Popović, 2015), by sacrebleu.

    From 0 to 100, over all rows at once. It needs no words, so it is the steadier one for Chinese and for endings
    (pip install 'danlu[translation]').
    """

    extra: ClassVar[str] = "translation"
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("text",)}

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """Characters of each row, see `blocks.sacrebleu.chrf_counts`."""
        return sacrebleu.chrf_counts(*([one["text"] for one in some] for some in (answers, gold)))

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
        """Between 0 and 100."""
        return sacrebleu.chrf(weights @ read)
