"""What stands in the place of personal data: a tag, a keyed hash, or a made-up value of the same shape."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from danlu.blocks.personal.fakes import fake
from danlu.blocks.personal.finding import KINDS, Found, find, joined
from danlu.blocks.personal.folding import fold

Style: TypeAlias = Literal["tag", "hash", "fake"]

_LETTERS = str.maketrans("0123456789", "ghijklmnop")
"""Hexadecimal digits as letters, so that no hash can be taken for a number."""
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_BETWEEN = re.compile(r"[\W_]+")
_NUMBERS = frozenset(("phone", "bank_card", "iban", "resident_id", "passport", "licence_plate"))
"""Kinds whose values are the same however they are cut into groups."""


@dataclass(frozen=True, slots=True)
class Mask:
    """Puts something else in the place of what was found.

    With a key a value becomes the same hash or fake everywhere, however it is spelled (spaces, dashes, full width,
    case). Without one a fake comes from the seed and the text around the value, never from the value, which could
    otherwise be found by trying all numbers; a hash needs the key (ValueError).
    """

    style: Style = "tag"
    key: bytes = b""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.style == "hash" and not self.key:
            raise ValueError("a hash needs a key")

    def apply(self, text: str, found: Sequence[Found]) -> str:
        """The text with everything that was found replaced; `found` is as `find` gives it."""
        tagged = _replaced(text, found, lambda one, _: f"[{one.kind.upper()}]")
        if self.style == "tag":
            return tagged
        return _replaced(text, found, lambda one, place: self._keyed(one, text, f"{place}\0{tagged}"))

    def _keyed(self, one: Found, text: str, around: str) -> str:
        value = fold(text[one.start : one.end])[0]
        said = f"{one.kind}\0{_same(one.kind, value)}" if self.key else f"{self.seed}\0{around}"
        drawn = hmac.digest(self.key, said.encode(), "sha256")
        if self.style == "fake":
            return fake(one.kind, value, drawn)
        return f"[{one.kind.upper()}#{drawn.hex()[:16].translate(_LETTERS)}]"


def blacked(text: str, kinds: Sequence[str] = KINDS, also: Sequence[Found] = ()) -> str:
    """The text with every letter and digit of personal data blacked out, and of what was found `also`.

    Its length and punctuation stay.
    """
    found = joined([*find([text], kinds)[0], *also])
    return _replaced(text, found, lambda one, _: _LETTER_OR_DIGIT.sub("█", text[one.start : one.end]))


def _replaced(text: str, found: Sequence[Found], instead: Callable[[Found, int], str]) -> str:
    parts, end = [], 0
    for place, one in enumerate(found):
        parts += [text[end : one.start], instead(one, place)]
        end = one.end
    return "".join([*parts, text[end:]])


def _same(kind: str, value: str) -> str:
    """The value in the one spelling that is hashed; case counts in secrets only."""
    if kind in _NUMBERS:
        return _BETWEEN.sub("", value).upper()
    return value.lower() if kind in ("email", "ip") else value
