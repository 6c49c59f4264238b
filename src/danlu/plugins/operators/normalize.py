"""One spelling for what looks the same: Unicode NFKC, no control characters, single spaces."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.rewriting import each, partly, rewrite
from danlu.contracts import Context, Counts, Operator
from danlu.core.plugin import lazy

_opencc: Any = lazy("opencc", extra="cleaning")

_CONTROL = (
    r"[\x00-\x08\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}\x{ad}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}"
    r"\x{2060}-\x{2064}\x{2066}-\x{206f}\x{feff}\x{fff9}-\x{fffb}]+"
)
"""What has no look: control characters that are not white space, soft hyphens, marks of direction, width and order.
The joiners U+200C and U+200D stay: emoji and several scripts need them."""
_ODD_SPACE = r"[\t-\r\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]+"

_HALF = {0x3000: " "} | {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


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

    width: Literal["keep", "half"] = "keep"
    """`half` turns full-width letters, digits and punctuation into half-width ones where `form` has not."""
    chinese: Literal["keep", "simplified", "traditional"] = "keep"
    """The characters that Chinese is written in (OpenCC)."""

    def model_post_init(self, _: Any) -> None:
        """Raises MachineError, which names what to install, before anything runs."""
        if self.chinese != "keep":
            _ = _opencc.OpenCC

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        return rewrite(table, self.columns or context.columns.ask, self._rewrite, option="normalize.columns")

    def _rewrite(self, texts: pa.Array) -> Any:
        if self.form != "none":
            beyond_ascii = pc.invert(pc.string_is_ascii(texts))
            texts = partly(texts, beyond_ascii, lambda some: pc.utf8_normalize(some, form=self.form))
        signs = [_CONTROL] * self.control + [_ODD_SPACE, "  "] * self.whitespace
        if signs:
            texts = partly(texts, pc.match_substring_regex(texts, "|".join(signs)), self._signs)
        if self.whitespace:
            texts = pc.utf8_trim(texts, characters=" ")
        if self.width == "half":
            texts = each(lambda text: text.translate(_HALF))(texts)
        if self.chinese != "keep":
            texts = each(_converter(self.chinese))(texts)
        return texts

    def _signs(self, texts: pa.Array) -> Any:
        if self.control:
            texts = pc.replace_substring_regex(texts, pattern=_CONTROL, replacement="")
        if self.whitespace:
            texts = pc.replace_substring_regex(texts, pattern=_ODD_SPACE, replacement=" ")
            texts = pc.replace_substring_regex(texts, pattern="  +", replacement=" ")
        return texts


@cache
def _converter(chinese: str) -> Callable[[str], str]:
    convert: Callable[[str], str] = _opencc.OpenCC("t2s" if chinese == "simplified" else "s2t").convert
    return convert
