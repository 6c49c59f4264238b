"""What became of each row on its way from the source to a split: `journal.parquet` of a data set.

Rows are numbered as the source gives them, from 0, in the column `ROW` that goes with them through all operators. An
entry says that an operator dropped, changed or copied a row; rows that nothing happened to have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danlu.contracts import Counts
from danlu.core.errors import DataError

ROW = "__row__"
"""The column of row numbers; -1 where an operator made a row of nothing."""
FILE = "journal.parquet"
DROPPED, CHANGED, COPIED = "dropped", "changed", "copied"
_AT_ONCE = 1 << 21
"""Bytes of rows that are compared at once: more would be copied to fresh memory."""
_GROUP = 1 << 14
"""Entries that are written at once, for a file with few parts."""
_Places: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
_SCHEMA = pa.schema([("row", pa.int64()), ("step", pa.string()), ("what", pa.string()), ("why", pa.string())])


def numbered(table: pa.Table, first: int) -> pa.Table:
    """The table with the column of row numbers, counted from `first`."""
    return table.append_column(ROW, pa.array(np.arange(first, first + table.num_rows)))


def numbers(table: pa.Table) -> _Places:
    """The row numbers of a table; -1 for all where it has none."""
    if ROW not in table.column_names:
        return np.full(table.num_rows, -1)
    return np.asarray(pc.fill_null(table.column(ROW), -1).to_numpy(), dtype=np.int64)


class Journal:
    """Writes the entries of a data set that is being made; to be entered and left."""

    def __init__(self, folder: Path) -> None:
        self._writer = pq.ParquetWriter(folder / FILE, _SCHEMA, compression="zstd")
        self._waiting: list[pa.Table] = []

    def note(self, step: str, before: pa.Table, after: pa.Table, counts: Counts) -> None:
        """Write what `compared` finds."""
        self.write(compared(step, before, after, counts))

    def write(self, entries: pa.Table) -> None:
        """Write entries that `compared` made."""
        if entries.num_rows:
            self._waiting.append(entries)
        if sum(one.num_rows for one in self._waiting) >= _GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()


def compared(step: str, before: pa.Table, after: pa.Table, counts: Counts) -> pa.Table:
    """The entries of a table and what an operator made of it.

    Raises DataError when it dropped or changed more rows than it counted, or lost what their numbers are.
    """
    if ROW not in after.column_names:
        what = f"the operator {step} made a table without the column {ROW}, so no row can be followed"
        raise DataError(what, do="let it take, filter or replace columns of the table it is given")
    old, new = numbers(before), numbers(after)
    dropped = np.flatnonzero(~np.isin(old, new))
    kept = np.isin(new, old)
    copied = np.zeros(len(new), dtype=bool)
    copied[kept] = ~_first(new[kept])
    changed = _changed(before, after, old, new, np.flatnonzero(kept & ~copied))
    strange = int((~kept).sum())
    if counts.rows_in != len(old) or counts.rows_out != len(new) or counts.changed < len(changed):
        found = f"{len(old)} rows in, {len(new)} out, {len(changed)} changed"
        told = f"{counts.rows_in}, {counts.rows_out}, {counts.changed}"
        raise DataError(f"the operator {step} counted {told}; it had {found}", do="mend the counts it returns")
    why = counts.why
    rows = [*old[dropped], *new[changed], *new[copied], *([-1] * strange)]
    if not rows:
        return _SCHEMA.empty_table()
    whats = [DROPPED] * len(dropped) + [CHANGED] * len(changed) + [COPIED] * (int(copied.sum()) + strange)
    places = {int(number): place for place, number in enumerate(old)} if why else {}
    reasons = [why.get(places.get(int(row), -1), "") for row in rows]
    columns = [np.array(rows, dtype=np.int64), [step] * len(rows), whats, reasons]
    return pa.table([pa.array(column) for column in columns], schema=_SCHEMA)


def entries(folder: Path, row: int) -> list[Mapping[str, Any]]:
    """What the journal of a data set says of a row, in order."""
    found = pq.read_table(folder / FILE, filters=[("row", "==", row)])
    return [{name: entry[name] for name in ("step", "what", "why")} for entry in found.to_pylist()]


def _first(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether each value stands there for the first time."""
    out = np.zeros(len(values), dtype=bool)
    out[np.unique(values, return_index=True)[1]] = True
    return out


def _changed(before: pa.Table, after: pa.Table, old: _Places, new: _Places, places: _Places) -> _Places:
    """Places in `after` of the rows that differ from the row of their number in `before`."""
    if not len(places):
        return places
    order = np.argsort(old, kind="stable")
    source = order[np.searchsorted(old, new[places], sorter=order)]
    differs = np.zeros(len(places), dtype=bool)
    columns = [(before.column(name), after.column(name)) for name in before.column_names]
    columns = [(one, other) for one, other in columns if not one.equals(other)]
    size = len(places)
    if (np.diff(source) > 0).all():  # else those of a few neighbours may lie anywhere
        size = max(1, int(_AT_ONCE / max(1, before.nbytes) * before.num_rows))
    for first in range(0, len(places), size):
        some = slice(first, first + size)
        for one, other in columns:
            differs[some] |= _unequal(_picked(one, source[some]), _picked(other, places[some]))
    return places[differs]


def _picked(column: pa.ChunkedArray, places: _Places) -> pa.ChunkedArray:
    """The values at different places, of which none but those around them are touched."""
    first, last = int(places.min()), int(places.max()) + 1
    around = column.slice(first, last - first)
    return around if np.array_equal(places, np.arange(first, last)) else around.take(pa.array(places - first))


def _unequal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if one.equals(other):
        return np.zeros(len(one), dtype=bool)
    if pa.types.is_struct(one.type):
        parts: Sequence[Any] = [pc.struct_field(column, field.name) for field in one.type for column in (one, other)]
        differ = np.zeros(len(one), dtype=bool)
        for first, second in zip(parts[::2], parts[1::2], strict=True):
            differ |= _unequal(first, second)
        return differ
    if pa.types.is_nested(one.type) or one.type != other.type:
        return np.array([a != b for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True)], dtype=bool)
    unequal: Any = pc.fill_null(pc.not_equal(one, other), False)
    unequal = pc.or_(unequal, pc.xor(pc.is_null(one), pc.is_null(other)))
    if pa.types.is_floating(one.type):
        unequal = pc.and_not(unequal, pc.fill_null(pc.and_(pc.is_nan(one), pc.is_nan(other)), False))
    return np.asarray(unequal.to_numpy(), dtype=bool)
