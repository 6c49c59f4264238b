"""Check digits of cards (ISO 7812), accounts (ISO 13616), Chinese residents (ISO 7064), passports (ICAO 9303)."""

from __future__ import annotations

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def luhn(digits: str) -> bool:
    """Whether the last of these digits is Luhn's check digit."""
    plain = sum(map(int, digits[-1::-2]))
    return (plain + sum(_DOUBLED[int(d)] for d in digits[-2::-2])) % 10 == 0


def mod97(account: str) -> bool:
    """Whether an IBAN without spaces leaves 1 (ISO 7064, MOD 97-10); letters are numbers from 10 on."""
    return int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1


def resident(number: str) -> bool:
    """Whether 17 digits and a digit or X end with the check character of ISO 7064, MOD 11-2."""
    total = sum(weight * int(digit) for weight, digit in zip(_RESIDENT_WEIGHTS, number[:17], strict=True))
    return "10X98765432"[total % 11] == number[17].upper()


def travel(field: str, check: str) -> bool:
    """Whether `check` is the check digit of a field of a machine-readable line; `<` counts 0, also as a check digit."""
    total = sum(weight * (0 if c == "<" else int(c, 36)) for c, weight in zip(field, _weights(len(field)), strict=True))
    return str(total % 10) == check.replace("<", "0")


def travel_line(line: str) -> bool:
    """Whether 44 characters are the second line of a passport: its number, dates and whole have their check digits."""
    whole = line[:10] + line[13:20] + line[21:43]
    parts = ((line[:9], line[9]), (line[13:19], line[19]), (line[21:27], line[27]), (whole, line[43]))
    return all(travel(field, check) for field, check in parts)


def _weights(length: int) -> list[int]:
    return [(7, 3, 1)[place % 3] for place in range(length)]
