"""Drop rows that are, exactly or nearly, in a set that the model will be measured on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from danlu.blocks import tables
from danlu.blocks.minhash import Near, Sketch, fitting_size
from danlu.blocks.rewriting import Mask, drop
from danlu.blocks.splits import Keys, key_array
from danlu.contracts import Context, Counts, Operator, Source
from danlu.core.errors import DataError

_WORDS = 2
"""Words in a shingle."""


class Decontaminate(Operator):
    """Removes what is in a benchmark, or in the data set's own validation and test rows, so that a result on them means
    something.

    A row goes when all its columns are equal to those of a row of `source`, save for case, width and spacing, or when
    it has one column of text and that is near one of `source`: Jaccard index of shingles, as in `near_duplicates`.
    Without a `source` it works on the training rows alone, after the cut, and on what other operators made of them.
    """

    source: Source | None = None
    """The set that must not be trained on, such as `{csv: benchmark.csv}`; its columns bear the same names. Left out:
    the validation and test rows of the same data set."""
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

    def where(self) -> tuple[str, ...]:
        return () if self.source else ("train",)

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        return next(self.sift([table], context))

    def sift(self, pieces: Iterable[pa.Table], context: Context) -> Iterator[tuple[pa.Table, Counts]]:
        """Goes through the rows once, and holds the other set's keys and shingles."""
        names = self.columns or context.columns.ask
        known, judge, theirs = self._other(context, names)
        for piece in pieces:
            tables.check_columns(piece, names, option="decontaminate.columns")
            equal = np.isin(key_array(piece, names), known)
            near = self._near(piece, names, judge, theirs) & ~equal
            rules = {"in the other set": equal, "nearly in the other set": near}
            yield drop(piece, names, rules, Counts(piece.num_rows, piece.num_rows))

    def _other(self, context: Context, names: tuple[str, ...]) -> tuple[Keys, Near, Sketch | None]:
        """The keys of the rows that must not be trained on, and what is near them."""
        keys, sketches, judge = list[Keys](), list[Sketch](), Near(self.threshold, self.shingles, _WORDS)
        for piece in self._held(context):
            tables.check_columns(piece, names, option="decontaminate.columns")
            keys.append(key_array(piece, names))
            if self.near and (texts := _texts(piece, names)) is not None:
                if not sketches and self.shingles == "characters":
                    judge = replace(judge, size=fitting_size(texts))
                sketches.append(judge.sketch(texts))
        if not sum(map(len, keys)):
            raise DataError("the set to be kept apart has no rows", do="correct decontaminate.source")
        return np.concatenate(keys), judge, Sketch.join(sketches) if sketches else None

    def _held(self, context: Context) -> Iterator[pa.Table]:
        if self.source is None:
            yield from (piece for pieces in context.held.values() for piece in pieces)
        else:
            yield from (pa.Table.from_batches([batch]) for batch in self.source.rows(self.split))

    def _near(self, piece: pa.Table, names: tuple[str, ...], judge: Near, theirs: Sketch | None) -> Mask:
        found = np.zeros(piece.num_rows, dtype=bool)
        texts = _texts(piece, names)
        if theirs is not None and texts is not None:
            there = np.flatnonzero(pc.is_valid(piece.column(names[0])).to_numpy())
            found[there] = judge.matches(judge.sketch(texts), theirs) >= 0
        return found


def _texts(piece: pa.Table, names: tuple[str, ...]) -> list[str] | None:
    """The texts that are there, of the one column of text; None where there is no such column, or more."""
    if len(names) > 1 or not tables.is_text(piece.column(names[0]).type):
        return None
    texts: list[str] = pc.drop_null(piece.column(names[0])).to_pylist()
    return texts
