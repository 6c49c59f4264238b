"""Columns: what each one is, what is missing in it, which ones the task lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.checkup.finding import Example, Finding, Mend, Severity, counted, shown
from danlu.blocks.checkup.subject import Subject
from danlu.blocks.pictures import PICTURE
from danlu.blocks.tables import LIKE_MISSING, is_text

_ALSO_MISSING = LIKE_MISSING | {"-", "?", "unknown"}
"""With how people write it, which may be a label all the same: told here, and left alone by `prepare`."""
_MOST_COLUMNS = 200


@dataclass(frozen=True, slots=True)
class Overview:
    """A column: its type, what it is for, how much is missing, how many values it has (None: not counted)."""

    name: str
    type: str
    role: str
    missing: int
    distinct: int | None
    example: str
    reason: str


def overview(subject: Subject) -> list[Overview]:
    """Every column, with the reason why it is taken for what it is; at most 200."""
    return [_overview(subject, name) for name in subject.table.column_names[:_MOST_COLUMNS]]


def _overview(subject: Subject, name: str) -> Overview:
    column = subject.table.column(name)
    role = "input" if name in subject.columns.ask else "truth" if name in subject.columns.gold else ""
    reason = next((r.split(": ", 1)[1] for r in subject.sniffed.reasons if f"column {name!r}" in r), "")
    reason = reason.replace(f"column {name!r}, ", "").replace(f"column {name!r} ", "")
    distinct = None if pa.types.is_nested(column.type) else len(column.unique())
    first = next((cell for cell in column.slice(0, 50).to_pylist() if cell not in (None, "")), None)
    kind = "picture" if column.type == PICTURE else str(column.type)
    example = "" if column.type == PICTURE else shown(first)[:60]
    return Overview(name, kind, role, int(missing(column).sum()), distinct, example, shown(reason))


def missing(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Whether a cell [n] is null, not a number, or text of nothing but white space."""
    empty = pc.is_null(column, nan_is_null=True)
    if is_text(column.type):
        blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0)
        empty = pc.or_(empty, pc.fill_null(blank, False))
    return np.asarray(empty.to_numpy(), dtype=bool)


def check(subject: Subject) -> list[Finding]:
    """Columns that the task lacks, empty cells, texts that stand for a missing value, columns of one value."""
    found = _lacking(subject)
    if len(subject.table.column_names) > _MOST_COLUMNS:
        what = f"{len(subject.table.column_names):,} columns, of which the first {_MOST_COLUMNS} are listed"
        found.append(Finding(what, "warn", len(subject.table.column_names), "A delimiter that was taken wrongly "
                             "makes as many.", do="name the delimiter, or leave out columns"))  # fmt: skip
    for name in subject.table.column_names[:_MOST_COLUMNS]:
        found += _of_column(subject, name)
    return found


def _lacking(subject: Subject) -> list[Finding]:
    seen = [Example(None, shown(reason)) for reason in subject.sniffed.reasons]
    found = []
    if not subject.columns.ask:
        what = "no column looks like a text or a picture"
        why = "Without an input there is nothing to learn from."
        found.append(Finding(what, "stop", 0, why, examples=seen, do="name the columns in a recipe's task"))
    if not subject.columns.gold:
        what, why = "no column looks like a label", "Without labels nothing can be measured, and no classifier trained."
        found.append(
            Finding(what, "stop", 0, why, examples=seen, do="name the column in a recipe's task, or label some rows")
        )
    return found


def _of_column(subject: Subject, name: str) -> list[Finding]:
    column, used = subject.table.column(name), name in (*subject.columns.ask, *subject.columns.gold)
    empty = missing(column)
    count, found = int(empty.sum()), []
    if count == subject.rows:
        severity: Severity = "stop" if used else "note"
        return [Finding(f"the column {name!r} is empty", severity, count, "It says nothing.", 1.0)]
    if count:
        why = "A row without input or truth teaches and measures nothing." if used else "The task does not read it."
        mends = [Mend("drop_empty")] if used else []
        what = f"{counted(count, 'cell', 'cells')} of the column {name!r} without content"
        found.append(Finding(what, "warn" if used else "note", count, why, count / subject.rows, mends))
    if used and is_text(column.type):
        found += _like_missing(subject, name, column)
    if used and pa.types.is_nested(column.type) and column.type != PICTURE:
        what = f"the column {name!r} holds lists or records ({column.type})"
        found.append(Finding(what, "note", subject.rows, "Not every task can read one."))
    return found


def _like_missing(subject: Subject, name: str, column: pa.ChunkedArray) -> list[Finding]:
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    hit = pc.fill_null(pc.is_in(lower, value_set=pa.array(sorted(_ALSO_MISSING), column.type)), False)
    rows = np.flatnonzero(hit.to_numpy())
    if not len(rows):
        return []
    spelled = sorted(set(column.take(pa.array(rows)).to_pylist()))
    what = f"{counted(len(rows), 'cell looks', 'cells look')} like a missing value in the column {name!r}"
    what += f": {', '.join(map(repr, spelled[:5]))}"
    truth = name in subject.columns.gold
    why = "It is learnt as a label of its own." if truth else "Such a text says nothing of its label."
    return [Finding(what, "warn", len(rows), why, len(rows) / subject.rows, [Mend("drop_empty", {"also": spelled})])]
