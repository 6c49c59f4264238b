"""Keep the texts that are in certain languages (langid; Lui and Baldwin, 2012)."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks.rewriting import drop, text_columns
from danlu.contracts import Context, Counts, Operator
from danlu.core.plugin import lazy

_langid: Any = lazy("py3langid.langid", extra="cleaning")


class Language(Operator):
    """Drops a row when one of its texts is in another language; each language has its count.

    A short text is hard to judge: one of fewer than `least` characters stays. The model of py3langid lies in its
    package as plain numbers.
    """

    main: ClassVar[str] = "keep"
    extra: ClassVar[str] = "cleaning"
    by_row: ClassVar[bool] = True

    keep: tuple[str, ...] = ("en", "zh")
    """ISO 639-1 codes of the languages whose texts stay."""
    sure: float = Field(default=0.8, ge=0, le=1)
    """How likely another language has to be for a row to be dropped."""
    least: int = Field(default=20, ge=0)
    """Shorter texts stay."""
    columns: tuple[str, ...] = ()
    """The columns; empty: those that the task asks about."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        counts = Counts(table.num_rows, table.num_rows)
        rules: dict[str, np.ndarray[Any, Any]] = {}
        for name in text_columns(table, names, counts, option="language.columns"):
            for row, text in enumerate(table.column(name).to_pylist()):
                if code := self._other(text or ""):
                    rules.setdefault(f"in {code}", np.zeros(table.num_rows, bool))[row] = True
        return drop(table, names, dict(sorted(rules.items())), counts)

    def _other(self, text: str) -> str:
        """The language of a text that is in none of `keep`; empty where it may stay."""
        if len(text) < self.least:
            return ""
        code, sure = _identifier().classify(text)
        return code if code not in self.keep and sure >= self.sure else ""


@cache
def _identifier() -> Any:
    return _langid.LanguageIdentifier.from_model_file(_langid.MODEL_FILE, norm_probs=True)
