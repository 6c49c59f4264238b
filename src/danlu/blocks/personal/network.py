"""E-mail addresses, IP addresses, and what a URL gives away: passwords and tokens."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from danlu.blocks.personal.recogniser import Recogniser, Span, is_word, said_before

_LETTER = "A-Za-z0-9\u00c0-\u024f"
_EMAIL = re.compile(
    rf"(?<![{_LETTER}._%+'-])[{_LETTER}_%+'.-]{{1,64}}@"
    rf"[{_LETTER}-]{{1,63}}(?:\.[{_LETTER}-]{{1,63}}){{0,8}}\.(?:[A-Za-z]{{2,24}}|xn--[a-z0-9-]{{2,50}})(?![{_LETTER}])"
)
_FILE_NAME = re.compile(r"(?i)@[0-9]x\.(?:png|jpe?g|gif|webp|svg|css|js)$")

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?<![0-9A-Za-z_])(?<![0-9A-Za-z]\.)(?:{_OCTET}\.){{3}}{_OCTET}(?![0-9A-Za-z_]|\.[0-9])")
_IPV6 = re.compile(r"(?<![0-9A-Fa-f:.])[0-9A-Fa-f:.]{4,60}(?![0-9A-Fa-f:.])")
_NUMBERED_PART = re.compile(
    r"(?:(?<![A-Za-z])(?i:v|ver|version|release|firmware|build|section|chapter|clause|sec|kapitel|abschnitt)\.?|§|第|"
    r"版本号?|固件|章节|升级到|更新到)[ :=]{0,3}(?:is|是|为|to)?[ :=]{0,2}$"
)
_PART_AFTER = re.compile(r" ?(?:节|章|条|款|版)")

_USER = re.compile(r"://([^\s/?#:@<>\"']{0,128}:[^\s/?#<>\"']{1,256})@")
_QUERY = re.compile(
    r"[?&#;](?i:access_token|refresh_token|id_token|token|auth_token|auth|authorization|api[_-]?key|apikey|key|"
    r"app[_-]?secret|client_secret|secret|password|passwd|pwd|pass|sig|signature|sign|session|session_?id|sid|"
    r"jsessionid|phpsessid|code|credential|x-amz-(?:signature|credential|security-token)|x-goog-signature)="
    r"([A-Za-z0-9%._~+/=:$!*-]{4,2048})"
)


def _emails(text: str) -> Iterator[Span]:
    passwords = {found.end(1) for found in _USER.finditer(text)}
    for found in _EMAIL.finditer(text):
        at = found.start() + found.group().index("@")
        if at not in passwords and not _FILE_NAME.match(text, at, found.end()):
            start = found.end() - len(found.group().lstrip(".'-"))
            yield start, found.end()


def _addresses(text: str) -> Iterator[Span]:
    for found in _IPV4.finditer(text):
        part = said_before(text, found.start(), _NUMBERED_PART) or _PART_AFTER.match(text, found.end())
        if not part:
            yield found.span()
    for found in _IPV6.finditer(text):
        if found.group().count(":") >= 2:
            yield from _ipv6(text, *found.span())


def _ipv6(text: str, start: int, end: int) -> Iterator[Span]:
    while text[end - 1] == "." or (text[end - 1] == ":" != text[end - 2]):
        end -= 1
    if text[start] == ":" != text[start + 1]:  # `IP:2001:db8::1`
        start += 1
    elif is_word(text, start - 1):
        return
    groups = [group for group in text[start:end].split(":") if group]
    if len(groups) < 3 and not re.match(r"(?i)fe[89ab][0-9a-f]:|f[cd][0-9a-f]{2}:|[23][0-9a-f]{3}:", text[start:end]):
        return
    try:
        ipaddress.IPv6Address(text[start:end])
    except ValueError:
        return
    if not is_word(text, end):
        yield start, end


def _credentials(text: str) -> Iterator[Span]:
    yield from (found.span(1) for found in _USER.finditer(text))
    yield from (found.span(1) for found in _QUERY.finditer(text))


EMAIL = Recogniser("email", "@", _emails)
IP = Recogniser("ip", r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|:[0-9A-Fa-f]{0,4}:", _addresses)
URL_CREDENTIALS = Recogniser("url_credentials", r"://|[?&#;][A-Za-z_-]+=", _credentials)
