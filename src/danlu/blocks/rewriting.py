"""Operators that rewrite each text of a column by itself, and those that drop rows by rules: what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.tables import MOST_SAMPLES, check_columns, is_text, shown, shown_rows
from danlu.contracts import Counts

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


def text_columns(table: pa.Table, names: Sequence[str], counts: Counts, *, option: str) -> list[str]:
    """Those of the columns that hold text; the others are told in the notes. Raises DataError for a missing one."""
    check_columns(table, names, option=option)
    texts = [name for name in names if is_text(table.column(name).type)]
    counts.notes += [f"the column {name} holds no text and was left alone" for name in names if name not in texts]
    return texts


def rewrite(
    table: pa.Table, names: Sequence[str], change: Callable[[pa.Array], pa.Array], *, option: str
) -> tuple[pa.Table, Counts]:
    """The table with `change` applied to the text columns, an Arrow array at a time, and what it changed."""
    counts = Counts(table.num_rows, table.num_rows)
    changed = np.zeros(table.num_rows, dtype=bool)
    for name in text_columns(table, names, counts, option=option):
        before = table.column(name)
        after = pa.chunked_array([change(chunk) for chunk in before.chunks], type=before.type)
        differs = pc.fill_null(pc.not_equal(before, after), False).to_numpy().astype(bool)
        rows = pa.array(np.flatnonzero(differs)[: MOST_SAMPLES - len(counts.samples)])
        counts.samples += zip(
            map(shown, before.take(rows).to_pylist()), map(shown, after.take(rows).to_pylist()), strict=True
        )
        changed |= differs
        table = table.set_column(table.column_names.index(name), name, after)
    counts.changed = int(changed.sum())
    return table, counts


def each(change: Callable[[str], str], *, where: str = "") -> Callable[[pa.Array], pa.Array]:
    """`change` of a text, for an Arrow array; a missing text stays missing.

    `where` is a regular expression (RE2) that is found in every text that can be changed: the others are not looked at.
    """

    def changed(texts: pa.Array) -> pa.Array:
        found = pc.match_substring_regex(texts, where) if where else pc.is_valid(texts)
        return partly(texts, found, lambda some: pa.array([change(text) for text in some.to_pylist()], texts.type))

    return changed


def partly(texts: pa.Array, mask: pa.Array, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """The texts with `change` applied to those of a mask; a missing text is none of them."""
    mask = pc.fill_null(mask, False)
    some = texts.filter(mask)
    return pc.replace_with_mask(texts, mask, change(some)) if len(some) else texts


def drop(table: pa.Table, names: Sequence[str], rules: Mapping[str, Mask], counts: Counts) -> tuple[pa.Table, Counts]:
    """The table without the rows [n] that any of the rules names, each rule counted."""
    gone = np.logical_or.reduce([np.zeros(table.num_rows, bool), *rules.values()])
    kept = table.filter(pa.array(~gone, pa.bool_()))
    counts.rows_out = kept.num_rows
    counts.by = {rule: int(rows.sum()) for rule, rows in rules.items() if rows.any()}
    for row in np.flatnonzero(gone).tolist():
        counts.why[row] = ", ".join(rule for rule, rows in rules.items() if rows[row])
    counts.samples = [(row, None) for row in shown_rows(table, np.flatnonzero(gone), names)]
    return kept, counts
