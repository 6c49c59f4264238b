"""Licence plates: Chinese ones by their shape, others where words announce them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from danlu.blocks.personal.recogniser import Recogniser, Span, digits_of, said_before

_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_CHINESE = re.compile(
    rf"(?<![最全更崭创革])[{_PROVINCES}][A-Z][ ·•.・-]?"
    r"(?:[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳]|[DABCEFGHJK][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[DABCEFGHJK])"
    r"(?![A-Za-z0-9])"
)
_WORDS = re.compile(
    r"(?i)licen[cs]e[ -]?plate|number[ -]?plate|plate (?:no|number)|(?<![a-z])plates?\b|registration (?:plate|mark|no)|"
    r"kennzeichen|immatriculation|matr[ií]cula|targa|车牌|牌照|号牌|ナンバー"
)
_OTHER = re.compile(r"(?<![A-Za-z0-9-])[A-Z0-9]{1,4}(?:[ ·-]?[A-Z0-9]{1,4}){1,3}(?![A-Za-z0-9]|[.,:][0-9])")
_MOST, _LEAST = 8, 4


def _plates(text: str) -> Iterator[Span]:
    for found in _CHINESE.finditer(text):
        if digits_of(found.group()):
            yield found.span()
    if _WORDS.search(text):
        for found in _OTHER.finditer(text):
            letters = sum(c.isalpha() for c in found.group())
            digits = len(digits_of(found.group()))
            like_one = letters and digits and _LEAST <= letters + digits <= _MOST
            if like_one and said_before(text, found.start(), _WORDS, 24):
                yield found.span()


LICENCE_PLATE = Recogniser(
    "licence_plate",
    rf"[{_PROVINCES}][A-Z]|(?i:plate|registration|kennzeichen|immatriculation|matr|targa)|车牌|牌照|号牌|ナンバー",
    _plates,
)
