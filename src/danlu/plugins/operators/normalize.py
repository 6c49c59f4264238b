"""One spelling for what looks the same: Unicode NFKC, no control characters, single spaces."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.tables import MOST_SAMPLES, check_columns, is_text, shown
from danlu.contracts import Context, Counts, Operator

_CONTROL = (
    r"[\x00-\x08\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}\x{ad}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}"
    r"\x{2060}-\x{2064}\x{2066}-\x{206f}\x{feff}\x{fff9}-\x{fffb}]+"
)
"""What has no look: control characters that are not white space, soft hyphens, marks of direction, width and order.
The joiners U+200C and U+200D stay: emoji and several scripts need them."""
_ODD_SPACE = r"[\t-\r\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]+"


class Normalize(Operator):
    """Rewrites the text columns that the task asks about; pictures and numbers are left alone.

    NFKC (Unicode Annex 15) also turns full-width letters, digits and punctuation into half-width ones and `①` into `1`;
    choose NFC to keep them.
    """

    by_row: ClassVar[bool] = True

    columns: tuple[str, ...] = ()
    """The columns; empty: those that the task asks about."""
    form: Literal["NFKC", "NFC", "none"] = "NFKC"
    """The Unicode normal form."""
    control: bool = True
    """Remove control and other characters that have no look."""
    whitespace: bool = True
    """Make every run of spaces, tabs and line ends one space, and remove it at both ends."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        check_columns(table, names, option="normalize.columns")
        counts = Counts(table.num_rows, table.num_rows)
        changed = np.zeros(table.num_rows, dtype=bool)
        for name in names:
            before = table.column(name)
            if not is_text(before.type):
                counts.notes.append(f"the column {name} holds no text and was left alone")
                continue
            after = pa.chunked_array([self._rewrite(chunk) for chunk in before.chunks], type=before.type)
            differs = pc.fill_null(pc.not_equal(before, after), False).to_numpy().astype(bool)
            rows = pa.array(np.flatnonzero(differs)[: MOST_SAMPLES - len(counts.samples)])
            counts.samples += zip(
                map(shown, before.take(rows).to_pylist()), map(shown, after.take(rows).to_pylist()), strict=True
            )
            changed |= differs
            table = table.set_column(table.column_names.index(name), name, after)
        counts.changed = int(changed.sum())
        return table, counts

    def _rewrite(self, texts: pa.Array) -> Any:
        if self.form != "none":
            texts = pc.utf8_normalize(texts, form=self.form)
        if self.control:
            texts = pc.replace_substring_regex(texts, pattern=_CONTROL, replacement="")
        if self.whitespace:
            texts = pc.replace_substring_regex(texts, pattern=_ODD_SPACE, replacement=" ")
            texts = pc.replace_substring_regex(texts, pattern="  +", replacement=" ")
            texts = pc.utf8_trim(texts, characters=" ")
        return texts
