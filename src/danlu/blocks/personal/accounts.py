"""Bank cards and international bank account numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from danlu.blocks.personal.checksums import luhn, mod97
from danlu.blocks.personal.recogniser import Recogniser, Span, is_word, numbers_a_thing, said_before

_ISSUERS: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"4", (16, 19)),  # Visa
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),  # Mastercard
    (r"3[47]", (15,)),  # American Express
    (r"62|81", (16, 17, 18, 19)),  # UnionPay
    (r"9558", (19,)),  # ICBC before UnionPay
    (r"6011|65|64[4-9]", (16, 19)),  # Discover
    (r"35", (16,)),  # JCB
    (r"2131|1800", (15,)),  # JCB, before 2007
    (r"30[0-59]|36|3[89]", (14, 16, 19)),  # Diners Club
    (r"220[0-4]", (16, 17, 18, 19)),  # Mir
    (r"50[0-9]{2}|5[678]|6304|676[1-3]|6759|6390|0604", tuple(range(12, 20))),  # Maestro
)
_ISSUED = [(re.compile(prefix), frozenset(lengths)) for prefix, lengths in _ISSUERS]
_OLD_VISA = re.compile(r"4[0-9]{12}$")
_CARD_WORDS = re.compile(
    r"(?i)(?<![a-z])(?:card|visa|master ?card|maestro|amex|credit|debit|karte|kreditkarte|carte)|卡|カード"
)
_CARD = re.compile(
    r"(?<![0-9])(?:[0-9]{12,19}|[0-9]{4}(?P<by>[ -])[0-9]{4}(?P=by)[0-9]{4}(?:(?P=by)[0-9]{1,4}){0,2}|"
    r"[0-9]{4}[ -][0-9]{6}[ -][0-9]{4,5}|[0-9]{6}[ -][0-9]{8,13})(?![0-9])"
)
_IN_A_NUMBER = re.compile(r"(?:[A-Za-z_]|[0-9A-Za-z][-_.,#/])$")

_IBAN = re.compile(r"(?<![0-9A-Za-z])(?:(?i:iban)[ :]{0,2})?([A-Za-z]{2}[0-9]{2})(?=[ -]?[A-Za-z0-9]{4})")
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
"""Country → characters of its accounts (SWIFT's register of ISO 13616)."""


def _cards(text: str) -> Iterator[Span]:
    for found in _CARD.finditer(text):
        start, end = found.span()
        while end > start and not _is_card(text, start, end):  # `4111 1111 1111 1111 123`: the last group is no part
            end = max(text.rfind(" ", start, end), text.rfind("-", start, end))
        if end > start and _stands_alone(text, start):
            yield start, end


def _is_card(text: str, start: int, end: int) -> bool:
    number = text[start:end].replace(" ", "").replace("-", "")
    if len(number) < 12 or not luhn(number):
        return False
    if _OLD_VISA.match(number):  # as long as the numbers on goods
        return said_before(text, start, _CARD_WORDS)
    return any(len(number) in lengths and prefix.match(number) for prefix, lengths in _ISSUED)


def _stands_alone(text: str, start: int) -> bool:
    in_a_number = _IN_A_NUMBER.search(text, max(0, start - 2), start) or numbers_a_thing(text, start)
    return not in_a_number or said_before(text, start, _CARD_WORDS, 24)


def _accounts(text: str) -> Iterator[Span]:
    for found in _IBAN.finditer(text):
        start = found.start(1)
        length = _IBAN_LENGTHS.get(found[1][:2].upper(), 0)
        end = _end_of(text, start, length)
        if end and mod97(_compact(text[start:end])):
            yield start, end


def _end_of(text: str, start: int, length: int) -> int:
    """Where `length` letters and digits that begin at `start` end, single spaces and dashes among them; 0: nowhere."""
    place = start
    for count in range(length):
        if count and place < len(text) and text[place] in " -":
            place += 1
        if not is_word(text, place) or text[place] == "_":
            return 0
        place += 1
    return 0 if is_word(text, place) else place


def _compact(text: str) -> str:
    return text.replace(" ", "").replace("-", "")


BANK_CARD = Recogniser("bank_card", r"[0-9]{4}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}", _cards)
IBAN = Recogniser("iban", r"[A-Za-z]{2}[0-9]{2}[ -]?[A-Za-z0-9]{4}", _accounts)
