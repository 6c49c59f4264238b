"""Leave out training rows of common labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks import balance
from danlu.contracts import Context, Counts, Operator


class Undersample(Operator):
    """Draws the rows that stay by lot, until no label has too many. Shorter epochs, at the price of rows never seen.

    A row without a label stays.
    """

    splits: ClassVar[tuple[str, ...]] = ("train",)
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("label",)}

    ratio: float = Field(default=1.0, gt=0, le=1)
    """How many rows the rarest label has for each row of another, at least; 1 makes all equal."""

    most: int | None = Field(default=None, ge=1)
    """How many rows of a label stay at most, however many the rarest has: what would few labels give?"""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        return balance.balanced(
            table, context, self.name, partial(_times, ratio=self.ratio, limit=self.most), "rows left out"
        )


def _times(
    labels: np.ndarray[Any, Any], lots: np.ndarray[Any, Any], ratio: float, limit: int | None = None
) -> tuple[np.ndarray[Any, Any], dict[str, int]]:
    """1 for a row that stays, 0 for one that goes, and label → rows left out."""
    rows = balance.counted(labels)
    most = round(min(rows.values(), default=0) / ratio)
    most = most if limit is None else min(most, limit)
    times, dropped = np.ones(len(labels), dtype=np.int64), dict[str, int]()
    for label, count in rows.items():
        places = np.flatnonzero(labels == label)
        times[places[np.argsort(lots[places], kind="stable")][most:]] = 0
        dropped[label] = max(count - most, 0)
    return times, dropped
