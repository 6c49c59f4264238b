"""Rows that say the same under different labels: drop them, or let the majority decide."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Literal

import numpy as np
import pyarrow as pa

from danlu.blocks.agreement import in_conflict, label_keys
from danlu.blocks.splits import row_keys
from danlu.blocks.tables import check_columns, shown_rows
from danlu.contracts import Context, Counts, Operator


class LabelConflicts(Operator):
    """Finds inputs that stand under more than one label; case, width and spacing do not count.

    At most one of the labels can be right, so a model learns noise from one of the rows and is measured on noise by
    another. Put it before `drop_duplicates`, which keeps the first row of equal ones whatever its label.
    """

    columns: tuple[str, ...] = ()
    """The columns that are compared; empty: those that the task asks about."""
    action: Literal["drop", "majority", "keep"] = "drop"
    """`drop` every row of a conflict, keep only the rows under the label that most have (`majority`; none where two
    labels have as many), or `keep` all and tell."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names, gold = self.columns or context.columns.ask, context.columns.gold
        check_columns(table, names, option="label_conflicts.columns")
        labels = label_keys(table, gold)
        if labels is None:
            return table, Counts(table.num_rows, table.num_rows, notes=["there are no labels, so none differ"])
        keys = row_keys(table, names)
        both = list(zip(keys, labels, strict=True))
        conflicts = in_conflict(keys, labels)
        under: dict[bytes, Counter[bytes]] = defaultdict(Counter)
        for key, label in both:
            if key in conflicts:
                under[key][label] += 1
        right = {key: self._right(counted) for key, counted in under.items()}
        gone = np.array([key in right and label not in right[key] for key, label in both], dtype=bool)
        kept = table.filter(pa.array(~gone, pa.bool_()))
        counts = Counts(table.num_rows, kept.num_rows)
        rows = np.flatnonzero(gone)
        counts.samples = [(row, None) for row in shown_rows(table, rows, (*names, *gold))]
        counts.why = {int(row): f"the same input stands under {len(under[keys[row]])} labels" for row in rows}
        if conflicts:
            told = sum(counted.total() for counted in under.values())
            counts.notes.append(f"{len(conflicts)} inputs stand under more than one label, in {told} rows")
        if len(rows):
            counts.by = {self.action: len(rows)}
        return kept, counts

    def _right(self, counted: Counter[bytes]) -> set[bytes]:
        """The labels whose rows stay."""
        if self.action == "keep":
            return set(counted)
        (first, most), (_, second) = counted.most_common(2)
        return {first} if self.action == "majority" and most > second else set()
