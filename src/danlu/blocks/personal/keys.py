"""Keys, tokens and private keys of services."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from danlu.blocks.personal.recogniser import Recogniser, Span

_KNOWN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255}|glpat-[A-Za-z0-9_-]{20,64}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}|xapp-[0-9]-[A-Za-z0-9-]{10,250}"  # Slack
    r"|AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,512}|GOCSPX-[A-Za-z0-9_-]{28}"  # Google
    r"|sk-(?:[A-Za-z0-9]{1,16}-){0,3}[A-Za-z0-9_-]{20,200}"  # OpenAI, Anthropic and those that follow them
    r"|[prs]k_(?:live|test)_[0-9A-Za-z]{16,128}|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,64}"  # Stripe, SendGrid
    r"|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,512}|dop_v1_[a-f0-9]{64}"
    r"|LTAI[A-Za-z0-9]{12,26}|AKID[A-Za-z0-9]{13,40}"  # Alibaba Cloud, Tencent Cloud
    r"|eyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{8,1024}"  # JSON Web Token
    r")(?![A-Za-z0-9])"
)
_SAID = re.compile(
    r"(?:(?i:api[_ -]?key|access[_ -]?key|secret[_ -]?key|account[_ -]?key|secret|token|password|passwd|pwd|credential|"
    r"bearer|authorization)[A-Za-z_]{0,16}|密钥|秘钥|密码|口令|令牌)"
    r"[\"'`]{0,2}[ \t]{0,3}(?:[:=]{1,2}>?|is|是|为| )?[ \t]{0,3}[\"'`]{0,2}"
    r"([A-Za-z0-9+/_=.~-]{16,512})"
)
_LEAST_BITS = 3.0
"""Entropy of a character: random hexadecimal digits have 3.3 at 16 of them, English words of that length 2.8."""
_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:\s{0,4}[A-Za-z0-9+/=]{16,128})*+")
_END = "-----END "


def _keys(text: str) -> Iterator[Span]:
    yield from (found.span() for found in _KNOWN.finditer(text))
    for found in _SAID.finditer(text):
        value = found[1].rstrip(".=")
        if _looks_random(value):
            yield found.start(1), found.end(1) if found[1].endswith("=") else found.start(1) + len(value)
    yield from _private_keys(text)


def _looks_random(value: str) -> bool:
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    counts = Counter(value).values()
    return mixed and -sum(n / len(value) * math.log2(n / len(value)) for n in counts) >= _LEAST_BITS


def _private_keys(text: str) -> Iterator[Span]:
    place = 0
    while found := _BEGIN.search(text, place):
        end = text.find(_END, found.end(), found.end() + 32_768)
        closed = text.find("-----", end + len(_END), end + len(_END) + 64) if end >= 0 else -1
        place = closed + 5 if closed >= 0 else found.end()  # a key that was cut off is hidden as far as it goes
        yield found.start(), place


API_KEY = Recogniser(
    "api_key",
    r"(?i:key|secret|token|passw|pwd|credential|bearer|authorization)|密钥|秘钥|密码|口令|令牌|A[KSRI][IOD]A|gh[pousr]_|"
    r"glpat-|xox[abeoprs]-|xapp-|AIza|ya29\.|GOCSPX|sk-|[prs]k_|SG\.|hf_|npm_|pypi-|dop_|LTAI|AKID|eyJ",
    _keys,
)
