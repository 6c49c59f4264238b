"""Repeat the training rows of rare labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks import balance
from danlu.contracts import Context, Counts, Operator


class Oversample(Operator):
    """Copies whole rows until every label has enough; each row of a label as often as any other, or once less.

    The model sees the same rows more often, so it learns them by heart sooner: `eda`, `typos` or `synonym` with
    `labels: [rare]` makes copies that differ. Class weights (a technique) do the same to the loss, at no longer epochs.
    """

    splits: ClassVar[tuple[str, ...]] = ("train",)
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("label",)}

    ratio: float = Field(default=1.0, gt=0, le=1)
    """How many rows a label has at least, for each row of the commonest; 1 makes all equal."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        return balance.balanced(table, context, self.name, partial(_times, ratio=self.ratio), "copies added")


def _times(
    labels: np.ndarray[Any, Any], lots: np.ndarray[Any, Any], ratio: float
) -> tuple[np.ndarray[Any, Any], dict[str, int]]:
    """How often each row shall be there, and label → rows added."""
    rows = balance.counted(labels)
    least = round(ratio * max(rows.values(), default=0))
    times, added = np.ones(len(labels), dtype=np.int64), dict[str, int]()
    for label, count in rows.items():
        places = np.flatnonzero(labels == label)
        whole, rest = divmod(max(least, count), count)
        times[places] = whole
        times[places[np.argsort(lots[places], kind="stable")][:rest]] += 1
        added[label] = max(least - count, 0)
    return times, added
