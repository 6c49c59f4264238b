"""Drop rows in which something that the task needs is missing."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.pictures import PICTURE
from danlu.blocks.tables import check_columns, is_text, shown_rows
from danlu.contracts import Context, Counts, Operator


class DropEmpty(Operator):
    """Drops a row when any of the columns is missing: null, not a number, only white space, a picture without bytes."""

    by_row: ClassVar[bool] = True

    columns: tuple[str, ...] = ()
    """The columns; empty: what the task asks about, and the truth."""
    also: tuple[str, ...] = ()
    """Texts that mean a missing value too, spelled as in the data, such as `["NaN", "null"]`."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or (*context.columns.ask, *context.columns.gold)
        check_columns(table, names, option="drop_empty.columns")
        empty_of = {name: _empty(table.column(name)) | self._spelled(table.column(name)) for name in names}
        empty = np.logical_or.reduce(list(empty_of.values()))
        kept = table.filter(pa.array(~empty))
        counts = Counts(table.num_rows, kept.num_rows)
        counts.samples = [(row, None) for row in shown_rows(table, np.flatnonzero(empty), names)]
        counts.by = {f"without {name}": int(e.sum()) for name, e in empty_of.items() if e.any()}
        missing = {name: set(np.flatnonzero(e).tolist()) for name, e in empty_of.items()}
        counts.why = {
            int(row): f"no {', '.join(name for name in names if row in missing[name])}" for row in np.flatnonzero(empty)
        }
        return kept, counts

    def _spelled(self, column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
        if not self.also or not is_text(column.type):
            return np.zeros(len(column), dtype=bool)
        return np.asarray(pc.is_in(column, value_set=pa.array(self.also, column.type)).to_numpy(), dtype=bool)


def _empty(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    if column.type == PICTURE:
        fields = [pc.struct_field(column, name) for name in ("bytes", "path")]
        present = [pc.greater(pc.binary_length(field), 0) for field in fields]
        empty = pc.invert(pc.or_(*(pc.fill_null(one, False) for one in present)))
    elif is_text(column.type):
        empty = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0)
    elif pa.types.is_floating(column.type):
        empty = pc.is_nan(column)
    else:
        empty = pc.is_null(column)
    return np.asarray(pc.fill_null(empty, True).to_numpy(), dtype=bool)
