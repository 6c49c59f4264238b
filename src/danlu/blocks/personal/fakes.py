"""Made-up values of the same shape, which are nobody's as far as a kind allows that, and never pass a check."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Callable, Iterator

from danlu.blocks.personal.checksums import luhn, mod97, resident, travel_line

_CHECKS: dict[str, Callable[[str], bool]] = {
    "bank_card": luhn,
    "iban": mod97,
    "resident_id": resident,
    "passport": lambda line: len(line) == 44 and line[-1].isdigit() and travel_line(line),
}
_MOBILE = re.compile(r"([^0-9]*(?:(?:00)?[^0-9]?86[^0-9]*)?1[^0-9]?)[3-9](?=(?:[^0-9]?[0-9]){9}$)")
_AMERICAN = re.compile(
    r"([^0-9]*(?:(?:00)?1[^0-9]*)?)([2-9][0-9]{2})([^0-9]*)[2-9][0-9]{2}([^0-9]*)[0-9]{2}(?=[0-9]{2}(?![0-9]))"
)
_LETTERS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
_COUNTRY = re.compile(r"[^0-9]*(?:00)?[0-9]{2}")


def fake(kind: str, value: str, secret: bytes) -> str:
    """A value of the same kind and shape that depends on 32 secret bytes; `value` is folded."""
    random = iter(hashlib.shake_256(secret).digest(len(value) + 3))
    match kind:
        case "ip":  # the nets of RFC 3849 and RFC 2544, which are no machine's
            one, two, three = (next(random) for _ in range(3))
            return f"2001:db8::{one:x}:{two:x}{three:02x}" if ":" in value else f"198.{18 + one % 2}.{two}.{three}"
        case "email":  # a domain that RFC 2606 keeps free
            return _shaped(value.rpartition("@")[0], random) + "@example.com"
        case "phone":
            return _phone(value, random)
        case "person" | "organisation":
            return "".join("某" if c.isalpha() and not c.isascii() else c for c in _shaped(value, random))
        case "resident_id":
            value = value[:-1] + "0"
    made = _shaped(value, random)
    check = _CHECKS.get(kind)
    if check and check(re.sub(r"[ -]", "", made)):
        made = made[:-1] + _next(made[-1])
    return made


def _shaped(value: str, random: Iterator[int]) -> str:
    """Another digit for each digit and another ASCII letter for each letter, in its case; the rest stays."""
    made = []
    for c in value:
        letters = next((letters for letters in _LETTERS if c in letters), "")
        made.append(letters[next(random) % len(letters)] if letters else c)
    return "".join(made)


def _phone(value: str, random: Iterator[int]) -> str:
    """No number of a Chinese mobile begins with 12, no American one with 555-01 is given to anybody."""
    if found := _MOBILE.match(value):
        return found[1] + "2" + _shaped(value[found.end() :], random)
    if found := _AMERICAN.match(value):
        area = _shaped(found[2], random)
        return f"{found[1]}{area}{found[3]}555{found[4]}01{_shaped(value[found.end() :], random)}"
    found = _COUNTRY.match(value)
    head = found[0] if found else ""
    return head + _shaped(value[len(head) :], random)


def _next(c: str) -> str:
    return str((int(c) + 1) % 10) if c.isdigit() else "B" if c == "A" else "A"
