"""Drop rows whose input stood in an earlier row already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from danlu.blocks.journal import numbers
from danlu.blocks.splits import Keys, key_array
from danlu.blocks.tables import check_columns, shown_rows
from danlu.contracts import Context, Counts, Operator


class DropDuplicates(Operator):
    """Keeps the first of the rows whose columns are equal, byte for byte. Put `normalize` before it.

    The same input under two labels is counted and told; the first label is kept, which may be the wrong one.
    """

    small_pieces: ClassVar[bool] = True

    columns: tuple[str, ...] = ()
    """The columns that are compared; empty: those that the task asks about."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        return next(self.sift([table], context))

    def sift(self, pieces: Iterable[pa.Table], context: Context) -> Iterator[tuple[pa.Table, Counts]]:
        """Goes through the rows twice, and holds 48 bytes of each."""
        names = self.columns or context.columns.ask
        keys, gold, rows = [], [], []
        for piece in pieces:
            check_columns(piece, names, option="drop_duplicates.columns")
            keys.append(key_array(piece, names, exact=True))
            rows.append(numbers(piece))
            if context.columns.gold and set(context.columns.gold) <= set(piece.column_names):
                gold.append(key_array(piece, context.columns.gold, exact=True))
        _, first, inverse = np.unique(np.concatenate(keys), return_index=True, return_inverse=True)
        earlier, number = first[inverse], np.concatenate(rows)
        again = earlier != np.arange(len(earlier))
        notes = _conflicts(inverse, np.concatenate(gold)) if len(gold) == len(keys) else []
        place = 0
        for piece in pieces:
            here = slice(place, place + piece.num_rows)
            gone = np.flatnonzero(again[here])
            kept = piece.filter(pa.array(~again[here], pa.bool_()))
            counts = Counts(piece.num_rows, kept.num_rows, notes=list(notes))
            counts.samples = [(row, None) for row in shown_rows(piece, gone, names)]
            counts.why = {int(row): f"the same as row {number[earlier[place + row]] + 1}" for row in gone}
            yield kept, counts
            place += piece.num_rows


def _conflicts(inputs: np.ndarray[Any, Any], gold: Keys) -> list[str]:
    """A note where the same input has more than one truth."""
    repeated = np.bincount(inputs)[inputs] > 1
    pairs = np.unique(np.rec.fromarrays([inputs[repeated], gold[repeated]]))
    found = int((np.bincount(pairs["f0"]) > 1).sum()) if len(pairs) else 0
    return [f"{found} inputs stand under more than one label; the first label was kept"] if found else []
