"""What the checks look at: a table, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.agreement import label_keys
from danlu.blocks.checkup.finding import Example, shown
from danlu.blocks.clusters import Places, together
from danlu.blocks.minhash import Near, Sketch, fitting_size
from danlu.blocks.pictures import PICTURE
from danlu.blocks.sniff import Sniffed
from danlu.blocks.splits import row_keys
from danlu.blocks.tables import is_text
from danlu.contracts import Columns


@dataclass(frozen=True, slots=True)
class Limit:
    """How many tokens a backbone takes of a text."""

    name: str
    most: int
    count: Callable[[str], int] = field(repr=False)


@dataclass
class Subject:
    """The rows that are looked at. `places` [n] are their numbers among the `total` rows of the source, from 0."""

    table: pa.Table
    total: int
    places: np.ndarray[Any, Any]
    columns: Columns
    sniffed: Sniffed
    split: np.ndarray[Any, Any] | None = None
    """The source's own split [n] of each row."""
    against: pa.Table | None = None
    """Rows that are measured on, of another file."""
    against_source: Mapping[str, Any] = field(default_factory=dict)
    """That file as a recipe names it."""
    limit: Limit | None = None
    shares: Mapping[str, float] = field(default_factory=lambda: {"validation": 0.1, "test": 0.2})
    """How the rows will be cut where the source brings no splits."""
    notes: Sequence[str] = ()
    """What the reader guessed or skipped."""
    doubts: Sequence[tuple[str, str]] = ()
    """What the reader doubts, each with the option of the source that mends it."""
    seed: int = 0

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def text_columns(self) -> list[str]:
        """The columns of text among those that the task asks about."""
        return [name for name in self.columns.ask if is_text(self.table.schema.field(name).type)]

    @cached_property
    def picture_columns(self) -> list[str]:
        return [name for name in self.columns.ask if self.table.schema.field(name).type == PICTURE]

    @cached_property
    def texts(self) -> list[str]:
        """The text of each row; of several columns, one below the other."""
        return texts_of(self.table, self.text_columns)

    @cached_property
    def label(self) -> str | None:
        """The column of the one label that a row has, if there is one."""
        gold = self.columns.gold
        simple = len(gold) == 1 and not pa.types.is_nested(self.table.schema.field(gold[0]).type)
        return gold[0] if simple else None

    @cached_property
    def labels(self) -> list[str | None]:
        """The label of each row as text."""
        if self.label is None:
            return []
        return [None if cell is None or cell == "" else str(cell) for cell in self.table.column(self.label).to_pylist()]

    @cached_property
    def truth(self) -> list[bytes] | None:
        """What tells the truth of one row from another's."""
        return label_keys(self.table, self.columns.gold)

    @cached_property
    def filled(self) -> np.ndarray[Any, Any]:
        """Whether a row [n] has anything to compare."""
        if self.text_columns:
            return np.array([bool(text.strip()) for text in self.texts], dtype=bool)
        there = [pc.is_valid(self.table.column(name)).to_numpy() for name in self.columns.ask]
        return np.logical_or.reduce(there) if there else np.zeros(self.rows, bool)

    @cached_property
    def same(self) -> Places:
        """The first row [n] whose input says the same, without case, width and spacing. An empty one is alone."""
        return first_rows(row_keys(self.table, self.columns.ask), self.filled)

    @cached_property
    def equal(self) -> Places:
        """The first row [n] whose input is the same byte for byte. An empty one is alone."""
        return first_rows(row_keys(self.table, self.columns.ask, exact=True), self.filled)

    @cached_property
    def near(self) -> Near:
        """What counts as nearly the same: as the operator `near_duplicates` has it."""
        return Near(size=fitting_size(self.texts))

    @cached_property
    def sketch(self) -> Sketch:
        return self.near.sketch(self.texts)

    @cached_property
    def alike(self) -> Places:
        """The first row [n] of those whose texts are nearly the same; only rows equal in all else that is asked."""
        others = [name for name in self.columns.ask if name not in self.text_columns]
        groups = self.near.clusters(self.sketch)
        rest = first_rows(row_keys(self.table, others), self.filled) if others else None
        merged = groups if rest is None else together([groups, rest])
        return np.where(self.filled, merged, np.arange(self.rows))

    def number(self, row: int) -> int:
        """The number of a row in the source, from 1, as `danlu data show --row` counts."""
        return int(self.places[row]) + 1

    def example(self, row: int, told: str = "") -> Example:
        """A row to look at: its text, else all that the task asks about."""
        text = self.texts[row] if self.text_columns else self._cells(row)
        return Example(self.number(row), shown(text), told)

    def _cells(self, row: int) -> str:
        """The texts of the row but its label, such as a picture's file; where there is none, all simple cells."""
        told = [f.name for f in self.table.schema if is_text(f.type) and f.name not in self.columns.gold]
        names = told or [f.name for f in self.table.schema if not pa.types.is_nested(f.type)]
        cells = self.table.slice(row, 1).select(names).to_pylist()[0]
        return ", ".join(f"{name}: {cell}" for name, cell in cells.items())


def texts_of(table: pa.Table, names: Sequence[str]) -> list[str]:
    """The text of each row; of several columns, one below the other."""
    columns = [table.column(name).to_pylist() for name in names]
    if len(columns) == 1:
        return [cell or "" for cell in columns[0]]
    return ["\n".join(cell or "" for cell in cells) for cells in zip(*columns, strict=True)]


def first_rows(keys: Sequence[bytes], counts: np.ndarray[Any, Any]) -> Places:
    """The first row [n] with the same key, among those that count; the others are alone."""
    first: dict[bytes, int] = {}
    found = [first.setdefault(key, row) if c else row for row, (key, c) in enumerate(zip(keys, counts, strict=True))]
    return np.array(found, dtype=np.int64)
