"""Drop rows that say nearly what another row says: texts by their shingles, pictures by their looks."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from danlu.blocks import tables
from danlu.blocks.agreement import in_conflict, label_keys
from danlu.blocks.clusters import Places, together
from danlu.blocks.lookalikes import look, picture_clusters
from danlu.blocks.minhash import Near, fitting_size
from danlu.blocks.pictures import PICTURE
from danlu.blocks.splits import row_keys
from danlu.contracts import Context, Counts, Operator

_PATH = r"(?i)\.(png|jpe?g|webp|bmp|gif|tiff?)$"


class NearDuplicates(Operator):
    """Keeps one row of each cluster of rows that are nearly the same in all `columns`.

    Texts are near when the Jaccard index of their shingles reaches `threshold`; candidates come from MinHash and LSH,
    and each is verified (Lee et al., 2022, do so on training data of language models). Clusters are transitive: the
    ends of a chain can be further apart than the threshold. Case, width and spacing do not count. Pictures are near
    when their difference hashes are, and the shrunk pictures too. Any other column has to be equal. Empty cells are
    near nothing. Clusters that hold more than one label are counted and told; the label of the row that stays stays.
    """

    columns: tuple[str, ...] = ()
    """The columns that are compared; empty: those that the task asks about."""
    threshold: float = Field(default=0.8, ge=0.3, le=1)
    """The least Jaccard index (common shingles / all shingles) of texts that are near."""
    shingles: Literal["characters", "words"] = "characters"
    """What a shingle is made of. Characters need no words, so they do for Chinese too."""
    size: int | None = Field(default=None, ge=1, le=50)
    """How many of them a shingle has; by default 5 characters, 3 where the texts are Chinese, or 2 words."""
    keep: Literal["first", "longest"] = "first"
    """Which row of a cluster stays; `longest`: the one with the most characters, the first of them."""
    bits: int = Field(default=6, ge=0, le=20)
    """How many of the 64 bits of two pictures' hashes may differ."""
    difference: float = Field(default=12.0, ge=0, le=255)
    """How far the brightness (0 to 255) of two pictures, shrunk to 16 × 16, may be apart on average."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        tables.check_columns(table, names, option="near_duplicates.columns")
        group = together([self._groups(table.column(name)) for name in names])
        stays = self._chosen(table, names, group)
        gone = stays[group] != np.arange(len(group))
        kept = table.filter(pa.array(~gone, pa.bool_()))
        counts = Counts(table.num_rows, kept.num_rows)
        places = np.flatnonzero(gone)
        counts.samples = [(row, None) for row in tables.shown_rows(table, places, names)]
        counts.why = {int(row): f"nearly the same as row {stays[group[row]]}" for row in places}
        if len(places):
            counts.by = {"nearly the same as another row": len(places)}
        if mixed := len(in_conflict(group.tolist(), label_keys(table, context.columns.gold))):
            counts.notes.append(f"{mixed} clusters hold more than one label; the label of the row kept stands")
        return kept, counts

    def _groups(self, column: pa.ChunkedArray) -> Places:
        """The cluster [n] of each cell, named by its first row; an empty cell is alone."""
        there = np.flatnonzero(pc.is_valid(column).to_numpy())
        cells = column.take(pa.array(there))
        if _are_pictures(cells):
            found = picture_clusters(*look(cells.to_pylist()), self.bits, self.difference)
        elif tables.is_text(column.type):
            texts = cells.to_pylist()
            size = self.size or (2 if self.shingles == "words" else fitting_size(texts))
            near = Near(self.threshold, self.shingles, size)
            found = near.clusters(near.sketch(texts))
        else:
            keys = row_keys(pa.table({"cell": cells}), ["cell"], exact=True)
            first: dict[bytes, int] = {}
            found = np.array([first.setdefault(key, row) for row, key in enumerate(keys)], dtype=np.int64)
        group: Places = np.arange(len(column))
        group[there] = there[found]
        return group

    def _chosen(self, table: pa.Table, names: tuple[str, ...], group: Places) -> Places:
        """For each cluster, at the place of its first row, the row that stays."""
        stays: Places = np.arange(len(group))
        if self.keep == "longest":
            order = np.lexsort((-np.arange(len(group)), _length(table, names)))
            stays[group[order]] = order
        return stays


def _are_pictures(cells: pa.ChunkedArray) -> bool:
    """Whether a column holds pictures, or nothing but paths of them."""
    if not tables.is_text(cells.type):
        return bool(cells.type == PICTURE)
    return bool(len(cells)) and bool(pc.all(pc.match_substring_regex(cells, _PATH)).as_py())


def _length(table: pa.Table, names: tuple[str, ...]) -> np.ndarray[Any, Any]:
    """The characters [n] of a row."""
    texts = [table.column(name) for name in names if tables.is_text(table.column(name).type)]
    lengths = [pc.fill_null(pc.utf8_length(column), 0).to_numpy().astype(np.int64) for column in texts]
    return sum(lengths, np.zeros(table.num_rows, np.int64))
