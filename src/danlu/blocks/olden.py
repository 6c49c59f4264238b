"""The examples of what a model learnt earlier, for techniques that keep it from forgetting."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.core.errors import RecipeError


def old_places(run: Any, technique: str, most: int | None = None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Places in `run.job.before`, at most so many, spread evenly. Raises RecipeError where there are none."""
    count = len(run.job.before)
    if not count:
        what = f"{technique} wants rows of what the model learnt before, and the step names none"
        raise RecipeError(what, where=f"techniques.{technique}", do="before: $step of an earlier data set")
    return np.linspace(0, count - 1, min(count, most or count)).astype(np.int64)
