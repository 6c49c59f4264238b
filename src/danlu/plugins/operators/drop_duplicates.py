"""Drop rows whose input stood in an earlier row already."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from danlu.blocks.agreement import in_conflict, label_keys
from danlu.blocks.splits import row_keys
from danlu.blocks.tables import check_columns, shown_rows
from danlu.contracts import Context, Counts, Operator


class DropDuplicates(Operator):
    """Keeps the first of the rows whose columns are equal, byte for byte. Put `normalize` before it.

    The same input under two labels is counted and told; the first label is kept, which may be the wrong one.
    """

    columns: tuple[str, ...] = ()
    """The columns that are compared; empty: those that the task asks about."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        check_columns(table, names, option="drop_duplicates.columns")
        keys = row_keys(table, names, exact=True)
        first: dict[bytes, int] = {}
        for row, key in enumerate(keys):
            first.setdefault(key, row)
        again = np.array([first[key] != row for row, key in enumerate(keys)], dtype=bool)
        kept = table.filter(pa.array(~again, pa.bool_()))
        counts = Counts(table.num_rows, kept.num_rows)
        counts.samples = [(row, None) for row in shown_rows(table, np.flatnonzero(again), names)]
        conflicts = len(in_conflict(keys, label_keys(table, context.columns.gold)))
        if conflicts:
            counts.notes.append(f"{conflicts} inputs stand under more than one label; the first label was kept")
        return kept, counts
