"""Drop rows by a pattern, keep only those that have it, or replace what it matches."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from danlu.blocks.rewriting import drop, rewrite, text_columns
from danlu.contracts import Context, Counts, Operator


class Regex(Operator):
    """Looks at the text columns that the task asks about. A pattern is one of RE2, which needs time in proportion to
    the text whatever the pattern (so it has no look-around and no back-references in the pattern).
    """

    main: ClassVar[str] = "pattern"
    by_row: ClassVar[bool] = True

    pattern: str = Field(min_length=1)
    """What is looked for, anywhere in the text; `(?i)` at its beginning: whatever the case."""
    action: Literal["drop", "keep", "replace"] = "drop"
    """Drop the rows in which a column has it, keep only those in which one has, or replace each match."""
    replacement: str = ""
    """What takes a match's place; `\\\\1` is its first group."""
    columns: tuple[str, ...] = ()
    """The columns; empty: those that the task asks about."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            pc.match_substring_regex(pa.array([""]), pattern)
        except pa.ArrowInvalid as fault:
            raise ValueError(f"RE2 does not know this pattern: {fault}") from fault
        return pattern

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        if self.action == "replace":
            return rewrite(table, names, self._replaced, option="regex.columns")
        counts = Counts(table.num_rows, table.num_rows)
        texts = text_columns(table, names, counts, option="regex.columns")
        if not texts:
            return table, counts
        has = np.logical_or.reduce([self._has(table.column(name)) for name in texts])
        rule = {"has the pattern": has} if self.action == "drop" else {"lacks the pattern": ~has}
        return drop(table, names, rule, counts)

    def _has(self, column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
        found = pc.fill_null(pc.match_substring_regex(column, self.pattern), False)
        return np.asarray(found.to_numpy(), dtype=bool)

    def _replaced(self, texts: pa.Array) -> Any:
        return pc.replace_substring_regex(texts, pattern=self.pattern, replacement=self.replacement)
