"""Leave out training rows of common labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks import balance
from danlu.blocks.tables import shown_rows
from danlu.contracts import Context, Counts, Operator


class Undersample(Operator):
    """Draws the rows that stay by lot, until no label has too many. Shorter epochs, at the price of rows never seen.

    A row without a label stays.
    """

    splits: ClassVar[tuple[str, ...]] = ("train",)
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("label",)}

    ratio: float = Field(default=1.0, gt=0, le=1)
    """How many rows the rarest label has for each row of another, at least; 1 makes all equal."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        labels = balance.labels_in(table, context, self.name)
        kept, dropped = _kept(labels, balance.lots(table, context.seed, self.name), self.ratio)
        made = table.filter(pa.array(kept, pa.bool_()))
        counts = Counts(table.num_rows, made.num_rows)
        counts.by = {label: count for label, count in dropped.items() if count}
        counts.why = dict.fromkeys(np.flatnonzero(~kept).tolist(), "drawn to balance the labels")
        names = (*context.columns.ask, *context.columns.gold)
        counts.samples = [(row, None) for row in shown_rows(table, np.flatnonzero(~kept), names)]
        counts.notes = balance.told(balance.counted(labels), dropped, "rows left out")
        return made, counts


def _kept(
    labels: np.ndarray[Any, Any], lots: np.ndarray[Any, Any], ratio: float
) -> tuple[np.ndarray[Any, Any], dict[str, int]]:
    """Which rows stay, and label → rows left out."""
    rows = balance.counted(labels)
    most = round(min(rows.values(), default=0) / ratio)
    kept, dropped = np.ones(len(labels), dtype=bool), dict[str, int]()
    for label, count in rows.items():
        places = np.flatnonzero(labels == label)
        kept[places[np.argsort(lots[places], kind="stable")][most:]] = False
        dropped[label] = max(count - most, 0)
    return kept, dropped
