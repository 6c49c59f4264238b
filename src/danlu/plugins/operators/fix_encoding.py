"""Mend text that was read in the wrong encoding: `CafÃ©` to `Café` (ftfy; Speer, 2019)."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa

from danlu.blocks.rewriting import each, rewrite
from danlu.contracts import Context, Counts, Operator
from danlu.core.plugin import lazy

_ftfy: Any = lazy("ftfy", extra="cleaning")
_PLAIN = r"\x00-\x7f\x{2013}\x{2014}\x{2018}-\x{201e}\x{2026}\x{3000}-\x{30ff}\x{3400}-\x{9fff}\x{ff00}-\x{ffef}"
_SUSPECT = rf"[^\x00-\x7f][^{_PLAIN}]|[^{_PLAIN}][^\x00-\x7f]|[\x{{80}}-\x{{9f}}\x{{b0}}ŒœÂÃ]"
"""Each of the patterns by which ftfy knows a mistake holds two neighbours beyond ASCII, one of them not plain; or a
character that is enough beside a plain one."""


class FixEncoding(Operator):
    """Rewrites the text columns that the task asks about where ftfy is sure which mistake was made.

    Quotes, widths, ligatures and line ends stay; `normalize` is for those. What a wrong encoding lost cannot come back.
    """

    extra: ClassVar[str] = "cleaning"
    by_row: ClassVar[bool] = True

    columns: tuple[str, ...] = ()
    """The columns; empty: those that the task asks about."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        return rewrite(table, names, each(_ftfy.fix_encoding, where=_SUSPECT), option="fix_encoding.columns")
