"""How many rows of each label there are, how many there should be, and how that is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from danlu.blocks.augment import drawn
from danlu.blocks.labels import label_name
from danlu.blocks.splits import row_keys
from danlu.blocks.tables import check_columns, shown_rows
from danlu.contracts import Context, Counts
from danlu.core.errors import DataError

Balance: TypeAlias = Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], tuple[np.ndarray[Any, Any], dict[str, int]]]
"""(label of each row, its lot) → how often each row shall be there, and label → rows added or left out."""


def balanced(table: pa.Table, context: Context, operator: str, balance: Balance, what: str) -> tuple[pa.Table, Counts]:
    """The table with each row as often as `balance` says, and the counts; `what` was done, as a note says it."""
    labels = labels_in(table, context, operator)
    times, done = balance(labels, lots(table, context.seed, operator))
    made = table.take(pa.array(np.repeat(np.arange(len(times)), times)))
    counts = Counts(table.num_rows, made.num_rows, changed=max(made.num_rows - table.num_rows, 0))
    counts.by = {label: count for label, count in done.items() if count}
    moved = np.flatnonzero(times != 1)
    for row in moved.tolist():
        counts.why[row] = f"copied {times[row] - 1} times" if times[row] else "drawn to balance the labels"
    shown = shown_rows(table, moved, (*context.columns.ask, *context.columns.gold))
    counts.samples = [(one, one if times[row] else None) for one, row in zip(shown, moved, strict=False)]
    counts.notes = told(counted(labels), done, what)
    return made, counts


def labels_in(table: pa.Table, context: Context, operator: str) -> np.ndarray[Any, Any]:
    """The label of each row; empty for a row without one. Raises DataError where a row may have several."""
    gold = context.columns.gold
    check_columns(table, gold, option=f"the columns of the task for {operator}")
    if len(gold) != 1 or pa.types.is_nested(table.schema.field(gold[0]).type):
        what = f"{operator} balances labels, and needs one column with one label a row"
        raise DataError(what, where=", ".join(gold), do=f"leave {operator} out")
    return np.array([label_name(value) or "" for value in table.column(gold[0]).to_pylist()], dtype=object)


def lots(table: pa.Table, seed: int, operator: str) -> np.ndarray[Any, Any]:
    """A number in [0, 1) for each row, which only the seed and what the row holds decide."""
    keys = row_keys(table, table.column_names, exact=True)
    return np.array([drawn(seed, operator, key).random() for key in keys])


def counted(labels: np.ndarray[Any, Any]) -> dict[str, int]:
    """Label → rows, the commonest first; rows without a label are left out."""
    found = Counter(label for label in labels.tolist() if label)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def told(rows: Mapping[str, int], done: Mapping[str, int], what: str) -> list[str]:
    """Notes for a report: which label is rare, which common, and what was done to each."""
    if not rows:
        return ["no row has a label, so nothing was balanced"]
    total = sum(rows.values())
    common, rare = next(iter(rows)), list(rows)[-1]
    shares = f"{rare!r} has {rows[rare]:,} of {total:,} rows ({rows[rare] / total:.1%})"
    notes = [f"the rarest label {shares}, the commonest {common!r} has {rows[common]:,}"]
    each = ", ".join(f"{label!r} {count:,}" for label, count in done.items() if count)
    return [*notes, f"{what}: {each}" if each else "the labels are as common as was asked for, so nothing was done"]
