"""SMOTE: new rows of rare labels between the rows there are, for tables of numbers (Chawla et al., 2002)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from danlu.blocks import balance
from danlu.blocks.augment import drawn, replaced
from danlu.blocks.splits import row_keys
from danlu.blocks.tables import MOST_SAMPLES, check_columns, shown
from danlu.contracts import Context, Counts, Operator
from danlu.core.errors import DataError

_AT_ONCE = 512


class SMOTE(Operator):
    """A new row lies at a random place between a row and one of its nearest rows of the same label.

    Numbers are put between the two; for a category (any other column) the commonest among the neighbours is taken, and
    two that differ are as far apart as the median deviation of the numbers (SMOTE-NC). Distances are measured after
    each column was scaled to deviation 1. A new row carries the other columns of the row it began at. It holds every
    row of a rare label against every other: for up to some ten thousand of them.
    """

    splits: ClassVar[tuple[str, ...]] = ("train",)
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("label",)}

    columns: tuple[str, ...] = ()
    """The columns that are made up; empty: those that the task asks about."""
    neighbours: int = Field(default=5, ge=1)
    """How many of the nearest rows of the same label are drawn from."""
    ratio: float = Field(default=1.0, gt=0, le=1)
    """How many rows a label has at least, for each row of the commonest; 1 makes all equal."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        check_columns(table, names, option="smote.columns")
        labels = balance.labels_in(table, context, self.name)
        numbers = [name for name in names if _is_number(table.schema.field(name).type)]
        counts = Counts(table.num_rows, table.num_rows)
        if not numbers:
            counts.notes = [f"no column of {', '.join(names)} holds numbers, so no row was made up"]
            return table, counts
        _check_whole(table, numbers)
        rows = balance.counted(labels)
        wanted = {label: max(round(self.ratio * max(rows.values())) - count, 0) for label, count in rows.items()}
        alone = [label for label, count in wanted.items() if count and rows[label] < 2]
        added = {label: 0 if label in alone else count for label, count in wanted.items()}
        others = [name for name in names if name not in numbers]
        made = _Space(table, numbers, others).between(labels, added, self.neighbours, context.seed)
        table = pa.concat_tables([table, made])
        counts.rows_out, counts.changed, counts.by = (
            table.num_rows,
            made.num_rows,
            {k: n for k, n in added.items() if n},
        )
        shown_names = (*names, *context.columns.gold)
        few = made.select(shown_names).slice(0, MOST_SAMPLES).to_pylist()
        counts.samples = [(None, {name: shown(value) for name, value in row.items()}) for row in few]
        counts.notes = balance.told(rows, added, "rows made up")
        counts.notes += [f"the label {label!r} has one row, and nothing lies between it and itself" for label in alone]
        return table, counts


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _check_whole(table: pa.Table, numbers: list[str]) -> None:
    """Raise DataError for a number that is missing or not finite: nothing lies between it and another."""
    for name in numbers:
        column = pc.cast(table.column(name), pa.float64())
        missing = table.num_rows - int(pc.sum(pc.fill_null(pc.is_finite(column), False)).as_py() or 0)
        if missing:
            what = f"{missing:,} rows have no finite number in the column {name!r}"
            raise DataError(what, where="smote", do="put drop_empty before it, or fill them in")


class _Space:
    """The rows as points: numbers scaled to deviation 1, and categories as whole numbers."""

    def __init__(self, table: pa.Table, numbers: list[str], categories: list[str]) -> None:
        self.table, self.numbers, self.categories = table, numbers, categories
        self.values = np.stack([table.column(n).cast(pa.float64()).to_numpy() for n in numbers], 1)
        codes = [table.column(n).combine_chunks().dictionary_encode("encode").indices.to_numpy() for n in categories]
        self.codes = np.stack(codes, 1) if codes else np.zeros((table.num_rows, 0), np.int64)
        self.scaled = self.values / self.values.std(0).clip(min=1e-12)

    def between(self, labels: np.ndarray[Any, Any], added: Mapping[str, int], neighbours: int, seed: int) -> pa.Table:
        """So many new rows of each label, drawn by what the rows hold and the seed."""
        keys = row_keys(self.table, self.table.column_names, exact=True)
        starts, values, codes = list[int](), list[Any](), list[Any]()
        for label, count in added.items():
            mine = np.flatnonzero(labels == label) if count else np.array([], np.int64)
            mine = np.array(sorted(mine.tolist(), key=lambda row: keys[row]), np.int64)
            near = self._nearest(mine, min(neighbours, len(mine) - 1)) if count else None
            for k in range(count):
                row = k % len(mine)
                rng = drawn(seed, "smote", keys[mine[row]], k // len(mine))
                others = mine[near[row]]  # type: ignore[index]
                other, part = others[int(rng.integers(len(others)))], rng.random()
                starts.append(int(mine[row]))
                values.append(self.values[mine[row]] + part * (self.values[other] - self.values[mine[row]]))
                codes.append([_commonest(self.codes[others, c]) for c in range(len(self.categories))])
        return self._rows(starts, np.array(values).reshape(len(starts), len(self.numbers)), codes)

    def _nearest(self, rows: np.ndarray[Any, Any], neighbours: int) -> np.ndarray[Any, Any]:
        """Places in `rows` of the nearest others of each, the nearest first."""
        points, codes = self.scaled[rows], self.codes[rows]
        apart = float(np.median(points.std(0))) ** 2
        found = []
        for start in range(0, len(rows), _AT_ONCE):
            here = slice(start, start + _AT_ONCE)
            far = np.square(points[here, None] - points[None]).sum(-1)
            far += apart * (codes[here, None] != codes[None]).sum(-1)
            far[np.arange(len(far)), np.arange(start, start + len(far))] = np.inf
            found.append(np.argsort(far, axis=1, kind="stable")[:, :neighbours])
        return np.concatenate(found)

    def _rows(self, starts: list[int], values: np.ndarray[Any, Any], codes: list[list[Any]]) -> pa.Table:
        """Rows as those they began at, with other numbers and categories; whole numbers stay whole."""
        made = self.table.take(pa.array(starts, pa.int64()))
        for place, name in enumerate(self.numbers):
            kind = self.table.schema.field(name).type
            column = values[:, place] if pa.types.is_floating(kind) else np.round(values[:, place]).astype(np.int64)
            made = replaced(made, name, pa.array(column).cast(kind).to_pylist())
        for place, name in enumerate(self.categories):
            first = {int(code): row for row, code in reversed(list(enumerate(self.codes[:, place].tolist())))}
            column = self.table.column(name).take(pa.array([first[int(one[place])] for one in codes], pa.int64()))
            made = made.set_column(made.column_names.index(name), self.table.schema.field(name), column)
        return made


def _commonest(codes: np.ndarray[Any, Any]) -> int:
    """The commonest; of several the nearest row's, since the nearest come first."""
    values, first, count = np.unique(codes, return_index=True, return_counts=True)
    return int(values[np.lexsort((first, -count))[0]])
