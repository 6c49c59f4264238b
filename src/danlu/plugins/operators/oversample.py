"""Repeat the training rows of rare labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks import balance
from danlu.blocks.tables import shown_rows
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
        labels = balance.labels_in(table, context, self.name)
        times, added = _times(labels, balance.lots(table, context.seed, self.name), self.ratio)
        made = table.take(pa.array(np.repeat(np.arange(len(times)), times)))
        counts = Counts(table.num_rows, made.num_rows, changed=made.num_rows - table.num_rows)
        counts.by = {label: count for label, count in added.items() if count}
        counts.why = {row: f"copied {times[row] - 1} times" for row in np.flatnonzero(times > 1).tolist()}
        names = (*context.columns.ask, *context.columns.gold)
        counts.samples = [(row, row) for row in shown_rows(table, np.flatnonzero(times > 1), names)]
        counts.notes = balance.told(balance.counted(labels), added, "copies added")
        return made, counts


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
