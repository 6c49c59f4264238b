"""Telephone numbers: China, North America, international ones, and any that words announce."""

from __future__ import annotations

import re
from collections.abc import Iterator

from danlu.blocks.personal.recogniser import Recogniser, Span, digits_of, is_word, numbers_a_thing, said_before

_WORDS = (
    r"(?:(?<![A-Za-z])(?i:tel|telephone|phone|mobile|mobil|cell|cellphone|call|dial|ring|text|sms|fax|whatsapp|"
    r"handy|telefon|telefonnummer|rufnummer|hotline|t[ée]l|t[ée]l[ée]phone|portable|tel[ée]fono)(?:s|phone)?(?![a-z])|"
    r"电话|手机|联系方式|联系我|致电|拨打|热线|座机|传真|来电|微信)"
)
_SAID = re.compile(_WORDS + r"[^0-9\n]{0,14}$")
_ANNOUNCED = re.compile(
    _WORDS + r"(?![^0-9+(]{0,14}[Qq])[^0-9+(\n。！？!?;]{0,14}"
    r"((?:\+|\(\+?)?[0-9](?:[ ().\/-]{0,3}[0-9]){6,14})(?![0-9]|[.,][0-9]|[A-Za-z])"
)
_COUNTRY = (
    r"(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|2[1-689][0-9]|3[578][0-9]|42[013]|5[09][0-9]|"
    r"6[789][0-9]|8[0578][0-9]|9[679][0-9])"
)
_REST = r"(?:[ .()/-]{0,3}[0-9])"
_INTERNATIONAL = re.compile(
    rf"(?<![0-9A-Za-z+])(?:\(?\+{_COUNTRY}\)?{_REST}{{6,13}}|00{_COUNTRY}[ .()/-]{{1,3}}[0-9]{_REST}{{5,12}})(?![0-9])"
)
_EXTENSION = r"(?:(?: ?(?:转|分机) ?| ?(?:x|ext\.?|extension) ?)[0-9]{1,6})?"
_CHINA = r"(?:(?:(?:\+|00)?86|\((?:\+|00)?86\)|(?:\+|00)\(86\))[ -]?)?"
_MOBILE = re.compile(
    rf"(?<![0-9]){_CHINA}1[3-9](?:[0-9]{{9}}|[0-9](?:[ -][0-9]{{4}}[ -][0-9]{{4}}|[0-9][ -][0-9]{{3}}[ -][0-9]{{4}}|"
    rf"[ -][0-9]{{8}}|[0-9]{{4}}[ -][0-9]{{4}}|[ -][0-9]{{3}}[ -][0-9]{{5}}))(?![0-9])"
    r"|(?<![0-9])(?<![0-9] )1 [3-9](?: [0-9]){9}(?! ?[0-9])"
)
_LANDLINE = re.compile(
    rf"(?<![0-9]){_CHINA}(?:\(0(?:10|2[0-9]|[3-9][0-9]{{2}})\) ?|0(?:10|2[0-9]|[3-9][0-9]{{2}})[ -])"
    rf"[2-9][0-9]{{2,3}}[ -]?[0-9]{{4}}{_EXTENSION}(?![0-9])"
    rf"|(?<![0-9])[48]00[ -][0-9]{{3,4}}[ -][0-9]{{3,4}}(?![0-9])"
)
_AMERICAN = re.compile(
    r"(?<![0-9])(?:(?:\+|00)?1[ .-]?)?(?:\([2-9][0-9]{2}\)[ .-]?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"
    + _EXTENSION
    + r"(?![0-9])"
)
_GLUED_BEFORE = re.compile(r"(?:[0-9A-Za-z_]|[0-9A-Za-z][-_.#/])$")
_GLUED_AFTER = re.compile(r"[A-Za-z_]|[-.][0-9A-Za-z]")
_UNIT = re.compile(r" ?(?:元|万|亿|人|点|%|￥|¥|€|\$|USD|EUR|RMB|kg|km)")
_DATE = re.compile(r"(?:19|20)[0-9]{2}[-/. ]?[01]?[0-9][-/. ]?[0-3]?[0-9]$")


def _phones(text: str) -> Iterator[Span]:
    for pattern in (_MOBILE, _LANDLINE, _AMERICAN):
        for found in pattern.finditer(text):
            start, end = found.span()
            alone = not _glued(text, start, end) or said_before(text, start, _SAID)
            if alone and not numbers_a_thing(text, start):
                yield start, end
    for found in _INTERNATIONAL.finditer(text):
        if _plausible(found.group()) and not _UNIT.match(text, found.end()) and not is_word(text, found.end()):
            yield found.span()
    for found in _ANNOUNCED.finditer(text):
        start, end = found.span(1)
        if _plausible(found[1]) and not numbers_a_thing(text, start) and not _UNIT.match(text, end):
            yield start, end


def _glued(text: str, start: int, end: int) -> bool:
    """Whether it is part of something longer: a code, a decimal number, a file name."""
    before = _GLUED_BEFORE.search(text, max(0, start - 2), start)
    return before is not None or _GLUED_AFTER.match(text, end) is not None


def _plausible(number: str) -> bool:
    """Whether points stand as between groups of digits, not as in a decimal number, and it is no date."""
    points = number.count(".")
    others = any(c in " -/" for c in number)
    grouped = points == 0 or (points >= 2 and not others)
    return grouped and 7 <= len(digits_of(number)) <= 15 and not _DATE.match(number)


PHONE = Recogniser("phone", r"[0-9](?:[ ().\/-]{0,3}[0-9]){6}", _phones)
