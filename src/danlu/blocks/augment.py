"""What all augmentation shares: which rows are chosen, whether they are copied or changed in place, and the counting.

What is drawn for a row is a function of the seed, the operator's name, all that the row holds and the number of the
copy. So neither the order of the rows nor the pieces in which they come change it; and rows that are equal are changed
equally.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks.labels import label_name
from danlu.blocks.splits import row_keys
from danlu.blocks.tables import MOST_SAMPLES, check_columns, is_text, shown
from danlu.contracts import Context, Counts, Operator
from danlu.core.errors import DataError

_AT_ONCE = 4096
"""Copies that are varied together."""


class Varied(NamedTuple):
    """A cell after a change, and what was done to it in a word or two."""

    value: Any
    how: str


class Augment(Operator):
    """Derive from it and write `takes` and `vary`, or `vary_all` where many at once cost less.

    The row keeps its label and its other columns.
    """

    splits: ClassVar[tuple[str, ...]] = ("train",)
    by_row: ClassVar[bool] = True
    changes: ClassVar[str] = "inputs"
    holds: ClassVar[str] = ""
    """What it changes, as a note says it: `text`."""
    why_not: ClassVar[str] = "too little to change"
    """Why a cell could not be changed, as a note says it."""

    columns: tuple[str, ...] = ()
    """The columns that are changed; empty: those that the task asks about."""
    copies: int = Field(default=1, ge=0, le=100)
    """New rows for each chosen row, put behind it; 0 changes the row itself."""
    share: float = Field(default=1.0, gt=0, le=1)
    """The share of rows that are chosen, by lot."""
    labels: tuple[str, ...] = ()
    """Only rows of these labels are chosen, such as a rare one; empty: all."""

    @abstractmethod
    def takes(self, kind: pa.DataType) -> bool:
        """Whether it can change a column of this type."""

    def vary(self, value: Any, rng: np.random.Generator) -> Varied | None:
        """A changed cell, drawn from `rng` alone; None when this one can't be changed."""
        return self.vary_all([(value, rng)])[0]

    def vary_all(self, cells: Sequence[tuple[Any, np.random.Generator]]) -> list[Varied | None]:
        """`vary` for many cells; those of one row share a generator."""
        return [self.vary(value, rng) for value, rng in cells]

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        check_columns(table, names, option=f"{self.name}.columns")
        mine = [name for name in names if self.takes(table.schema.field(name).type)]
        counts = Counts(table.num_rows, table.num_rows)
        others = [name for name in names if name not in mine]
        counts.notes += [f"the column {name} holds no {self.holds} and was left alone" for name in others]
        if not mine or not table.num_rows:
            return table, counts
        cells = {name: table.column(name).to_pylist() for name in mine}
        made = self._draw(table, cells, context, counts)
        return _put_together(table, cells, made, counts, behind=self.copies > 0), counts

    def _draw(
        self, table: pa.Table, cells: dict[str, list[Any]], context: Context, counts: Counts
    ) -> list[tuple[int, dict[str, Any]]]:
        """The place of each chosen row and its changed cells, in the order of the rows."""
        made: list[tuple[int, dict[str, Any]]] = []
        by: Counter[str] = Counter()
        unchanged = 0
        waiting = self._chosen(table, context)
        while few := list(islice(waiting, _AT_ONCE)):
            asked = [(cells[name][row], rng) for row, rng in few for name in cells if cells[name][row] is not None]
            varied = iter(self.vary_all(asked))
            for row, _ in few:
                after = {name: next(varied) for name in cells if cells[name][row] is not None}
                differs = {name: x for name, x in after.items() if x is not None and x.value != cells[name][row]}
                if not differs:
                    unchanged += 1
                    continue
                made.append((row, {name: one.value for name, one in differs.items()}))
                hows = sorted({one.how for one in differs.values()})
                by.update(hows)
                counts.why[row] = ", ".join(hows)
        counts.by = dict(sorted(by.items()))
        if unchanged:
            counts.notes.append(f"{unchanged:,} of the changes asked for could not be made: {self.why_not}")
        return made

    def _chosen(self, table: pa.Table, context: Context) -> Iterator[tuple[int, np.random.Generator]]:
        """The rows that are varied, each as often as it is copied, with the generator of that copy."""
        wanted = of_labels(table, context, self.labels, option=f"{self.name}.labels")
        keys = row_keys(table, table.column_names, exact=True)
        for row in np.flatnonzero(wanted).tolist():
            if self.share < 1 and drawn(context.seed, self.name, keys[row]).random() >= self.share:
                continue
            for copy in range(max(self.copies, 1)):
                yield row, drawn(context.seed, self.name, keys[row], copy)


def _put_together(
    table: pa.Table,
    cells: dict[str, list[Any]],
    made: Sequence[tuple[int, dict[str, Any]]],
    counts: Counts,
    *,
    behind: bool,
) -> pa.Table:
    """The table with the changed rows behind those they were made of, or in their place."""
    few = made[:MOST_SAMPLES]
    counts.samples = [(shown({n: cells[n][row] for n in new}), shown(new)) for row, new in few]
    counts.changed = len(made)
    if not made:
        return table
    if behind:
        old = np.arange(table.num_rows)
        new = np.array([row for row, _ in made], dtype=np.int64)
        order = np.argsort(np.concatenate([old, new]), kind="stable")
        table = table.take(pa.array(np.concatenate([old, new])[order]))
        places = np.flatnonzero(order >= len(old)).tolist()
    else:
        places = [row for row, _ in made]
    for name in cells:
        values = table.column(name).to_pylist()
        for place, (_, changed) in zip(places, made, strict=True):
            values[place] = changed.get(name, values[place])
        table = replaced(table, name, values)
    counts.rows_out = table.num_rows
    return table


def replaced(table: pa.Table, name: str, values: Sequence[Any]) -> pa.Table:
    """The table with other values in a column, of the type it had."""
    place = table.column_names.index(name)
    field = table.schema.field(place)
    return table.set_column(place, field, pa.chunked_array([pa.array(values, field.type)]))


def of_labels(table: pa.Table, context: Context, labels: Sequence[str], *, option: str) -> np.ndarray[Any, Any]:
    """Which rows have one of the labels, or a list with one in it; all where none is asked for. Raises DataError."""
    if not labels:
        return np.ones(table.num_rows, dtype=bool)
    if len(context.columns.gold) != 1:
        raise DataError("rows can be chosen by label only where one column holds the labels", do=f"leave {option} out")
    check_columns(table, context.columns.gold, option=option)
    named = (v if isinstance(v, list) else [v] for v in table.column(context.columns.gold[0]).to_pylist())
    return np.array([any(label_name(one) in labels for one in many) for many in named], dtype=bool)


def drawn(seed: int, name: str, key: bytes, copy: int = -1) -> np.random.Generator:
    """The generator of one copy of one row for one operator."""
    place = f"{seed} {name} {copy} ".encode() + key
    return np.random.default_rng(int.from_bytes(blake2b(place, digest_size=16).digest(), "little"))


class AugmentText(Augment):
    """Augmentation of text columns."""

    holds: ClassVar[str] = "text"

    def takes(self, kind: pa.DataType) -> bool:
        return is_text(kind)


def pick(rng: np.random.Generator, few: Sequence[Any]) -> Any:
    """One of a few things, each as likely."""
    return few[int(rng.integers(len(few)))]


def some(rng: np.random.Generator, places: Sequence[int], rate: float) -> list[int]:
    """About a share `rate` of the places, at least one, ascending; none where there are none."""
    if not places:
        return []
    count = min(len(places), max(1, round(rate * len(places))))
    return sorted(places[int(k)] for k in rng.choice(len(places), count, replace=False))
