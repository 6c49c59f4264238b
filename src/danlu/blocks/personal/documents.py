"""Numbers of people's documents: Chinese resident identity cards and passports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from danlu.blocks.personal.checksums import resident, travel_line
from danlu.blocks.personal.recogniser import Recogniser, Span, is_word, said_before

_PROVINCES = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")
"""The first two digits of GB/T 2260; 83 is on residence permits of people from Taiwan."""
_RESIDENT = re.compile(
    r"(?<![0-9])[1-8][0-9]{5}[ -]?(?:18|19|20)[0-9]{2}[ -]?[01][0-9][ -]?[0-3][0-9][ -]?[0-9]{3}[ -]?[0-9Xx](?![0-9])"
)

_PASSPORT_WORDS = re.compile(r"(?i)passport|护照|護照|reisepass|passeport|pasaporte|パスポート")
_PASSPORT = re.compile(r"(?<![0-9A-Za-z])(?<![0-9A-Za-z]-)[A-Za-z0-9]{8,9}(?![0-9A-Za-z]|-[0-9A-Za-z])")
_LINE = re.compile(r"(?<![A-Z0-9<])[A-Z0-9<]{44}(?![A-Z0-9]|<[A-Z0-9<])")
_FIRST_LINE = re.compile(r"P[A-Z<][A-Z]{1,3}<{0,2}[A-Z<]+<<[A-Z<]*$")
_SECOND_LINE = re.compile(r"[A-Z0-9<]{9}[0-9][A-Z<]{3}[0-9]{7}[MFX<][0-9]{7}[A-Z0-9<]{14}[0-9<][0-9]$")


def _residents(text: str) -> Iterator[Span]:
    for found in _RESIDENT.finditer(text):
        number = found.group().replace(" ", "").replace("-", "")
        known = bool(_PROVINCES.match(number)) and _is_date(number[6:14]) and resident(number)
        if known and not (number[-1] in "Xx" and is_word(text, found.end())):
            yield found.span()


def _is_date(digits: str) -> bool:
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return True


def _passports(text: str) -> Iterator[Span]:
    if _PASSPORT_WORDS.search(text):
        for found in _PASSPORT.finditer(text):
            if _numbers_a_passport(found.group()) and _near_its_word(text, *found.span()):
                yield found.span()
    for found in _LINE.finditer(text):
        line = found.group()
        if _FIRST_LINE.match(line) or (_SECOND_LINE.match(line) and travel_line(line)):
            yield found.span()


def _numbers_a_passport(token: str) -> bool:
    digits = sum(c.isdigit() for c in token)
    return 5 <= digits <= 9 and (digits < len(token) or len(token) == 9)


def _near_its_word(text: str, start: int, end: int) -> bool:
    after = _PASSPORT_WORDS.search(text, end, end + 12)
    return said_before(text, start, _PASSPORT_WORDS, 32) or after is not None


RESIDENT_ID = Recogniser("resident_id", r"[0-9]{6}[ -]?(?:18|19|20)[0-9]{2}[ -]?[01][0-9]", _residents)
PASSPORT = Recogniser(
    "passport",
    r"(?i:passport|护照|護照|reisepass|passeport|pasaporte|パスポート)|<<|[A-Z<]{3}[0-9]{7}[MFX<][0-9]{7}",
    _passports,
)
