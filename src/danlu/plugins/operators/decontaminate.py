"""Drop rows that are, exactly or nearly, in a set that the model will be measured on."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from danlu.blocks import tables
from danlu.blocks.minhash import Near, fitting_size
from danlu.blocks.rewriting import Mask
from danlu.blocks.splits import row_keys
from danlu.contracts import Context, Counts, Operator, Source
from danlu.core.errors import DataError


class Decontaminate(Operator):
    """Removes what is in a benchmark or another test set, so that a result on it means something.

    A row goes when all its columns are equal to those of a row of `source`, save for case, width and spacing, or when
    it has one column of text and that is near one of `source`: Jaccard index of shingles, as in `near_duplicates`.
    """

    source: Source
    """The set that must not be trained on, such as `{csv: benchmark.csv}`; its columns bear the same names."""
    split: str = ""
    """Which of the source's splits; empty: all its rows."""
    columns: tuple[str, ...] = ()
    """The columns that are compared; empty: those that the task asks about."""
    near: bool = True
    """Drop nearly equal texts too, not only equal rows."""
    threshold: float = Field(default=0.8, ge=0.3, le=1)
    """The least Jaccard index of texts that are near."""
    shingles: Literal["characters", "words"] = "characters"
    """What a shingle is made of: 5 characters (3 where the texts are Chinese), or 2 words."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        tables.check_columns(table, names, option="decontaminate.columns")
        held = pa.Table.from_batches(list(self.source.rows(self.split)))
        if not held.num_rows:
            raise DataError("the set to be kept apart has no rows", do="correct decontaminate.source")
        tables.check_columns(held, names, option="decontaminate.columns")
        known = set(row_keys(held, names))
        equal = np.array([key in known for key in row_keys(table, names)], dtype=bool)
        near = self._near(table, held, names) & ~equal
        kept = table.filter(pa.array(~(equal | near), pa.bool_()))
        counts = Counts(table.num_rows, kept.num_rows)
        counts.samples = [(row, None) for row in tables.shown_rows(table, np.flatnonzero(equal | near), names)]
        for told, rows in (("in the other set", equal), ("nearly in the other set", near)):
            counts.why |= {int(row): told for row in np.flatnonzero(rows)}
            if rows.any():
                counts.by[told] = int(rows.sum())
        return kept, counts

    def _near(self, table: pa.Table, held: pa.Table, names: tuple[str, ...]) -> Mask:
        found = np.zeros(table.num_rows, dtype=bool)
        columns = [one.column(name) for one in (table, held) for name in names]
        if not self.near or len(names) > 1 or not all(tables.is_text(column.type) for column in columns):
            return found
        there = np.flatnonzero(pc.is_valid(columns[0]).to_numpy())
        mine, theirs = (pc.drop_null(column).to_pylist() for column in columns)
        judge = Near(self.threshold, self.shingles, 2 if self.shingles == "words" else fitting_size(theirs))
        found[there] = judge.matches(judge.sketch(mine), judge.sketch(theirs)) >= 0
        return found
