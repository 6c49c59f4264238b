"""Find rows whose label is likely wrong, and say why: confident learning on cross-validated predictions."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from danlu.blocks import tables
from danlu.blocks.cleanlab import Suspects, suspects
from danlu.blocks.splits import row_keys
from danlu.contracts import Context, Counts, Operator

_LEAST_ROWS = 20


class LabelErrors(Operator):
    """Ranks the rows by how unlikely their label is and tells why; it drops them only when it is told to.

    Logistic regression on words and letters predicts every row from the others, and cleanlab (Northcutt et al., 2021)
    judges which labels those predictions contradict. Suspicion is no proof: hard rows look wrong too. Look at what is
    flagged before you drop it. It works on text with one label a row; anything else is left alone and told.
    """

    extra: ClassVar[str] = "cleaning"
    splits: ClassVar[tuple[str, ...]] = ("train",)

    columns: tuple[str, ...] = ()
    """The columns of text; empty: those that the task asks about."""
    action: Literal["flag", "drop"] = "flag"
    """`flag` reports the rows and keeps them, `drop` takes them out of the training rows."""
    most: float = Field(default=0.05, gt=0, le=0.5)
    """The greatest share of rows that is flagged or dropped, the most suspicious ones."""
    folds: int = Field(default=10, ge=2, le=50)
    """How many models are taught, each without the rows that it predicts."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        tables.check_columns(table, names, option="label_errors.columns")
        found = self._found(table, names, context)
        if isinstance(found, str):
            return table, Counts(table.num_rows, table.num_rows, notes=[found])
        there, judged = found
        chosen = judged.order[: min(judged.wrong, int(self.most * len(there)))]
        rows = there[chosen]
        counts = Counts(table.num_rows, table.num_rows)
        counts.why = dict(zip(rows.tolist(), judged.reasons(chosen.tolist()), strict=True))
        counts.by = _pairs(judged, chosen.tolist())
        told = f"{judged.wrong} of {len(there)} labels look wrong"
        counts.notes.append(f"{told}; {len(rows)} rows were {'dropped' if self.action == 'drop' else 'flagged'}")
        shown = tables.shown_rows(table, rows, (*names, *context.columns.gold))
        if self.action == "flag":
            told_of = (counts.why[row] for row in rows[: len(shown)].tolist())
            counts.samples = [(row, {"reason": reason}) for row, reason in zip(shown, told_of, strict=True)]
            return table, counts
        stays = np.ones(table.num_rows, bool)
        stays[rows] = False
        kept = table.filter(pa.array(stays))
        counts.rows_out, counts.samples = kept.num_rows, [(row, None) for row in shown]
        return kept, counts

    def _found(
        self, table: pa.Table, names: tuple[str, ...], context: Context
    ) -> tuple[np.ndarray[Any, Any], Suspects] | str:
        """The rows that were judged and what was found, or why nothing was."""
        gold = context.columns.gold
        if len(gold) != 1 or gold[0] not in table.column_names or pa.types.is_nested(table.schema.field(gold[0]).type):
            return "nothing was judged: a row has to have one label"
        if not all(tables.is_text(table.schema.field(name).type) for name in names):
            return "nothing was judged: only text can be"
        labels = table.column(gold[0])
        there = np.flatnonzero(pc.is_valid(labels).to_numpy())
        rows = table.take(pa.array(there))
        kinds = len(pc.unique(rows.column(gold[0])))
        if len(there) < _LEAST_ROWS or not 2 <= kinds <= len(there) // 5:
            return f"nothing was judged: {kinds} labels on {len(there)} rows teach no model"
        texts = [" ".join(text or "" for text in row.values()) for row in rows.select(list(names)).to_pylist()]
        keys = row_keys(rows, names)  # rows that say the same are in one fold, or one would give the other away
        folds = np.array([int.from_bytes(key[:8], "little") % self.folds for key in keys])
        return there, suspects(texts, [str(label) for label in rows.column(gold[0]).to_pylist()], folds)


def _pairs(judged: Suspects, rows: list[int]) -> dict[str, int]:
    """`a, likely b` → rows."""
    told = [f"{judged.names[judged.labels[row]]}, likely {judged.likely(row)}" for row in rows]
    return {pair: told.count(pair) for pair in sorted(set(told))}
