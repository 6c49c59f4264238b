"""Replay: every step sees some old rows too (Robins, 1995; Rolnick et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks.olden import old_places
from danlu.contracts import Technique


class Replay(Technique):
    """Adds training rows of an earlier data set, which the step names (`before: $old`), to every step.

    For a model that a step goes on from (`base: $first`). The old rows are drawn anew for every step. A step takes
    1 + `share` times the time.
    """

    inputs: ClassVar[tuple[str, ...]] = ("before",)
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"learning": ("descent",)}

    share: float = Field(default=0.5, gt=0, le=10)
    """Old rows for each new one."""
    rows: int | None = Field(default=None, ge=1)
    """How many old rows are kept at all, spread evenly over the data set; by default all."""

    def start(self, run: Any) -> None:
        old_places(run, self.name)  # raises where there are none

    def draw(self, chosen: list[int], run: Any, rng: np.random.Generator) -> list[int]:
        kept = old_places(run, self.name, self.rows)
        count = round(self.share * len(chosen))
        drawn = rng.choice(kept, count, replace=count > len(kept))
        return [*chosen, *(len(run.job.train) + drawn).tolist()]
