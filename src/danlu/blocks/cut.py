"""Which split each row of a data set goes to; what must stay together, and what must stay where it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.labels import label_name
from danlu.blocks.minhash import Near, Sketch, fitting_size
from danlu.blocks.pieces import Pieces
from danlu.blocks.splits import NAMES, Keys, assign, key_array, places_of, rarest
from danlu.blocks.tables import is_text
from danlu.contracts import Task, iterate_rows, labels_of
from danlu.core.errors import DataError

Parts: TypeAlias = np.ndarray[Any, np.dtype[np.int8]]
"""For each row the place of its split in `NAMES`."""
Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
UNKNOWN = -1
NEAR = 0.8
MOST_MB = 32
"""Texts that are compared unasked: 3 to 10 seconds."""
_FEW = 3
_TRAIN, _VALIDATION, _TEST = range(3)


@dataclass(frozen=True, slots=True)
class Cut:
    """How rows are cut; see the options of `split` of the stage `prepare`."""

    shares: Mapping[str, float]
    """validation, test → share; one that is not there gets no row."""
    by: str
    seed: int
    column: str | None = None
    folds: int = 5
    fold: int = 1

    def parts(self, rows: Pieces, keys: Keys, codes: np.ndarray[Any, Any] | None, free: Mask) -> Parts:
        """The split of every row that is `free`, train for the others; rows of one key go to one split.

        `codes` are the strata as numbers.
        """
        out = np.zeros(len(keys), dtype=np.int8)
        codes = codes[free] if codes is not None and self.by in ("stratified", "fold") else None
        if self.by == "time":
            out[free] = self._by_time(moments(rows, str(self.column))[free], keys[free])
        elif self.by == "fold":
            out[free] = self._by_fold(keys[free], codes)
        else:
            shares = {name: self.shares.get(name, 0.0) for name in ("validation", "test")}
            out[free] = assign(keys[free], seed=self.seed, codes=codes, **shares)
        return out

    def _by_time(self, times: np.ndarray[Any, Any], keys: Keys) -> Parts:
        """The latest rows are the test set, those before them validation; what is there twice counts for its last."""
        unique, inverse = np.unique(keys, return_inverse=True)
        last = np.full(len(unique), times.min())
        np.maximum.at(last, inverse, times)
        ordered = np.sort(last)
        test, validation = (self.shares.get(name, 0.0) for name in ("test", "validation"))
        rows, most = len(ordered), len(ordered) - 1
        first, second = (ordered[min(most, round(rows * (1 - share)))] for share in (test, test + validation))
        part = np.where(last >= first, _TEST, np.where(last >= second, _VALIDATION, _TRAIN))
        return part.astype(np.int8)[inverse]

    def _by_fold(self, keys: Keys, codes: np.ndarray[Any, Any] | None) -> Parts:
        """Fold number `fold` is the test set; of the others each gives its share to validation."""
        unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        places = places_of(unique, self.seed)
        if codes is not None:
            places = _ranked(places, codes[first])
        of, within = np.divmod(places * self.folds, 1)
        share = self.shares.get("validation", 0.0) / (1 - 1 / self.folds)
        part = np.where(of == self.fold - 1, _TEST, np.where(within < share, _VALIDATION, _TRAIN))
        return part.astype(np.int8)[inverse]


def _ranked(places: np.ndarray[Any, Any], codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Places spread evenly over [0, 1) within each stratum, in the same order."""
    order, out = np.lexsort((places, codes)), np.empty(len(places))
    for group in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        out[group] = (np.arange(len(group)) + 0.5) / len(group)
    return out


# ---- what stays together ---------------------------------------------------------------------------------------------


def asked(rows: Pieces, task: Task) -> Keys:
    """The key of every row's input."""
    return _all_keys(rows, task.columns().ask)


def blank(rows: Pieces, task: Task) -> Mask:
    """Whether a row has no truth: nothing in any of its columns."""
    truth = task.columns().gold
    table = rows.thin(truth)
    cells = zip(*(table.column(name).to_pylist() for name in truth), strict=True)
    return np.array([all(label_name(value) is None for value in row) for row in cells], dtype=bool)


def _all_keys(rows: Pieces, columns: tuple[str, ...], *, exact: bool = False) -> Keys:
    return np.concatenate([key_array(piece, columns, exact=exact) for piece in rows])


def grouped(rows: Pieces, keys: Keys, column: str) -> Keys:
    """Keys in which all rows of one value of a column share one, and all rows of one key still do."""
    _check_column(rows, column)
    return together(keys, _all_keys(rows, (column,), exact=True))


def near(rows: Pieces, task: Task, keys: Keys, threshold: float) -> Keys:
    """Keys in which texts that are near one another, and those near them, share one (see `blocks/minhash.py`).

    Raises DataError where the task asks about anything but text, and where nearly all texts hang together.
    """
    if not _asks_text(rows, task):
        what = f"the task asks about {', '.join(task.columns().ask)}, which is not text, so nothing can be near"
        raise DataError(what, do="leave out split.near")
    clusters = _clusters(rows, task, threshold)
    most = int(np.bincount(np.unique(clusters, return_inverse=True)[1]).max())
    if most > rows.num_rows / 2:
        what = f"{most:,} of {rows.num_rows:,} texts hang together, each near another one: they are of one pattern"
        raise DataError(what, do=f"raise split.near above {threshold:g}, or leave it out")
    return together(keys, clusters)


def near_if_few(rows: Pieces, task: Task, keys: Keys, least: float) -> tuple[Keys, list[str]]:
    """`near` at 0.8 where it can be done, and what to tell where it was not.

    `least` is the smallest share of a split. Of texts that hang together in such numbers that they would fill half of
    it each goes alone: they are of one pattern. Texts of more than 32 MB are not compared. Anything but text is left.
    """
    if not rows.num_rows or not _asks_text(rows, task):
        return keys, []
    columns = task.columns().ask
    mb = sum(piece.column(name).nbytes for piece in rows for name in columns) / 1e6
    if mb > MOST_MB:
        what = f"{mb:,.0f} MB of text were not searched for near-duplicates, which may stand in two splits"
        return keys, [f"{what}; split.near=0.8 keeps them together, in about a minute for 100 MB"]
    clusters = _clusters(rows, task, NEAR)
    codes = _codes(clusters)
    sizes = np.bincount(codes[np.unique(keys, return_index=True)[1]])
    pattern = (sizes > max(_FEW, least * rows.num_rows / 2))[codes]
    clusters = np.where(pattern, np.arange(len(clusters)), clusters)
    if not pattern.any():
        return together(keys, clusters), []
    what = f"{int(pattern.sum()):,} of {rows.num_rows:,} texts are of one pattern ({sizes.max():,} hang together)"
    return together(keys, clusters), [f"{what}: near ones among them may stand in two splits"]


def _asks_text(rows: Pieces, task: Task) -> bool:
    return all(is_text(rows.schema.field(name).type) for name in task.columns().ask)


def _clusters(rows: Pieces, task: Task, threshold: float) -> np.ndarray[Any, Any]:
    """The cluster of each row, named by its first row."""
    columns = task.columns().ask
    how = Near(threshold, size=fitting_size(_texts(rows.head(), columns)))
    return how.clusters(Sketch.join([how.sketch(_texts(piece, columns)) for piece in rows]))


def _texts(table: pa.Table, columns: tuple[str, ...]) -> list[str]:
    cells = ([value or "" for value in table.column(name).to_pylist()] for name in columns)
    return [" ".join(row) for row in zip(*cells, strict=True)]


def _check_column(rows: Pieces, column: str) -> None:
    if column not in rows.schema.names:
        there = ", ".join(name for name in rows.schema.names if not name.startswith("__"))
        what = f"there is no column {column!r} to split by; the columns are: {there}"
        raise DataError(what, do="split.column=<column>")


def together(keys: Keys, groups: np.ndarray[Any, Any]) -> Keys:
    """Keys in which the rows of one group, and those of one key, share the least key of all that hang together."""
    unique, codes = np.unique(keys, return_inverse=True)
    _, of_group = np.unique(groups, return_inverse=True)
    least = codes
    while True:
        by_group = _least(least, of_group)[of_group]
        settled = _least(by_group, codes)[codes]
        if np.array_equal(settled, least):
            merged: Keys = unique[settled]
            return merged
        least = settled


def _least(values: np.ndarray[Any, Any], groups: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    out = np.full(int(groups.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(out, groups, values)
    return out


def strata(rows: Pieces, task: Task) -> np.ndarray[Any, Any] | None:
    """What a row counts for in a stratified cut, as numbers: its label, or the rarest of several; None without any."""
    truth = task.columns().gold
    match task.gives.get("answer"):
        case "label":
            return _codes(_all_keys(rows, truth, exact=True))
        case "labels":
            labels = [labels_of(task.gold(row)) for piece in rows for row in iterate_rows(piece.select(truth))]
            return _codes(np.array(rarest(labels)))
    return None


def _codes(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    codes: np.ndarray[Any, Any] = np.unique(values, return_inverse=True)[1]
    return codes


def moments(rows: Pieces, column: str) -> np.ndarray[Any, Any]:
    """A column of times as numbers. Raises DataError where one is missing or can't be read as a time."""
    _check_column(rows, column)
    values = rows.thin([column]).column(column)
    try:
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            values = pc.cast(values, pa.timestamp("us"))
        if pa.types.is_temporal(values.type):
            values = pc.cast(pc.cast(values, pa.timestamp("us")), pa.int64())
        numbers = np.asarray(values.to_numpy(), dtype=np.float64)
    except (pa.ArrowException, ValueError) as fault:
        what = f"the column {column!r} holds no times: {fault}"
        raise DataError(what, do="write them as 2026-01-31 or 2026-01-31T23:59:00, or name another column") from fault
    if missing := int(np.isnan(numbers).sum()):
        raise DataError(f"{missing:,} rows have no time in the column {column!r}", do="drop_empty.columns='[…]'")
    return numbers


# ---- what stays where it is ------------------------------------------------------------------------------------------


def kept_places(keys: Keys, inputs: Keys, before: Mapping[str, Keys]) -> Parts:
    """The split that a row had in an earlier data set, or `UNKNOWN`.

    `inputs` are the rows' own keys, `keys` those of what they hang with. A row that hangs with rows that were there
    goes with them: to test if any is there, else validation, else train.
    """
    parts = np.full(len(inputs), UNKNOWN, dtype=np.int8)
    for part, name in enumerate(NAMES):
        parts[np.isin(inputs, before[name])] = part
    _, codes = np.unique(keys, return_inverse=True)
    highest = np.full(int(codes.max(initial=-1)) + 1, UNKNOWN, dtype=np.int8)
    np.maximum.at(highest, codes, parts)
    return np.where(parts == UNKNOWN, highest[codes], parts)


def apart(keys: Keys, own: Parts) -> Mask:
    """Whether a row's key stood in another of the source's own splits before; those splits follow one another."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    again: Mask = own[first][inverse] != own
    return again
