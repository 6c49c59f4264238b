"""One spelling for what looks the same, with the way back to places in the original."""

from __future__ import annotations

import re
from collections.abc import Sequence

_INVISIBLE = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe0f\ufeff"
_SPACES = "\u00a0\u2000-\u200a\u202f\u205f\u3000"
_DASHES = "\u2010-\u2015\u2212\ufe58\ufe63\uff0d"
_WIDE = "０-９Ａ-Ｚａ-ｚ＠"
_OTHER_DIGITS = "\u0660-\u0669\u06f0-\u06f9"

_UNSEEN = re.compile(f"[{_INVISIBLE}]")
ODD = f"[{_INVISIBLE}{_WIDE}{_OTHER_DIGITS}]|[0-9][{_SPACES}{_DASHES}]|[{_SPACES}{_DASHES}][0-9]"
"""What a text holds in which a hint for folded text might find nothing though there is something; also RE2."""


def _table() -> dict[int, str]:
    table = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # the full-width forms of ASCII
    table |= {first + n: str(n) for first in (0x0660, 0x06F0) for n in range(10)}
    for codes, plain in ((_SPACES, " "), (_DASHES, "-")):
        table |= {code: plain for code in range(0x80, 0x10000) if re.match(f"[{codes}]", chr(code))}
    return table


_TABLE = _table()


def fold(text: str) -> tuple[str, Sequence[int] | None]:
    """The text with half-width letters and digits, plain spaces and dashes, and without what has no look.

    The second value says where each character of it stood; None: where it stands now.
    """
    if text.isascii():
        return text, None
    folded = text.translate(_TABLE)
    if not _UNSEEN.search(folded):
        return folded, None
    places = [place for place, c in enumerate(folded) if not _UNSEEN.match(c)]
    return "".join([folded[place] for place in places]), places
