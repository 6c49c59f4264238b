"""What a recogniser is, and the questions about a number's surroundings that several of them ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]

_NUMBERED = re.compile(
    r"(?:(?<![A-Za-z])(?i:order|invoice|tracking|parcel|waybill|sku|serial|model|part|item|isbn|issn|ean|upc|asin|ref|"
    r"reference|batch|lot|article|product|ticket|case|id|doi|transaction|bestellung|rechnung|artikel|bestellnummer)s?|"
    r"订单|单号|编号|流水号?|运单|快递|型号|货号|序列号?|批次|批号|发票|条码|工单|商品|交易|产品)"
    r"[ :#=._-]{0,3}(?:(?i:no|number|num|nr|code|id)\b\.?|号码|编号|号|码)?"
    r"[ :#=._-]{0,3}(?:is|was|lautet|ist|是|为)?[ :#=\"'(-]{0,3}$"
)
_BEFORE = 48
"""Characters before a number that are searched for a word that says what it is."""


@dataclass(frozen=True, slots=True)
class Recogniser:
    """One kind of personal data.

    `hint` is a regular expression in the syntax that `re` and RE2 share; a text in which it finds nothing holds none of
    this kind, so that most texts are settled by one search. `spans` gives the places in a folded text, in any order.
    """

    kind: str
    hint: str
    spans: Callable[[str], Iterable[Span]]


def said_before(text: str, start: int, words: re.Pattern[str], width: int = _BEFORE) -> bool:
    """Whether one of `words` stands in the `width` characters before `start`."""
    return words.search(text, max(0, start - width), start) is not None


def numbers_a_thing(text: str, start: int) -> bool:
    """Whether the words right before a number say that it is an order's, an article's, a parcel's."""
    return said_before(text, start, _NUMBERED)


def is_word(text: str, place: int) -> bool:
    """Whether there is an ASCII letter, digit or underscore at `place`; Chinese may stand against a number."""
    return 0 <= place < len(text) and text[place].isascii() and (text[place].isalnum() or text[place] == "_")


def digits_of(text: str) -> str:
    """The digits of a text, without what stands between them."""
    return "".join(c for c in text if c.isdigit())
