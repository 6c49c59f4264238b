"""What the metrics of preferences share: the margin between two answers' scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.contracts import Answer

_LEAST = 1e-12


def margins(answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
    """log of the better answer's score over the other's, [rows]; the better one is what the truth puts first."""
    scores = np.log(np.maximum([one["scores"] for one in answers], _LEAST))
    first = np.array([one["order"][0] for one in gold])
    rows = np.arange(len(first))
    return np.asarray(scores[rows, first] - scores[rows, 1 - first])
