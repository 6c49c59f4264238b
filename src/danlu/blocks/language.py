"""Tell English and Chinese from everything else: shares of scripts, and the words that English cannot do without."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Literal

_SCRIPTS = {
    "Han": re.compile("[\u3400-\u4dbf\u4e00-\u9fff]"),
    "kana": re.compile("[\u3040-\u30ff]"),
    "Hangul": re.compile("[\uac00-\ud7af]"),
    "Latin": re.compile("[A-Za-z\u00c0-\u024f]"),
}
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile("[A-Za-z\u00c0-\u024f']+")
_ENGLISH = frozenset(
    {
        *("the", "and", "it", "that", "you", "with", "this", "not", "be", "are", "but", "they", "she"),
        *("his", "from", "or", "there", "can", "what", "will", "would", "which", "their", "has", "if", "who", "when"),
        *("out", "up", "them", "some", "could", "your", "than", "its", "our", "these", "how", "about", "just", "very"),
        *("were", "where", "do", "does", "did", "because", "it's", "i'm", "don't", "i've", "that's", "you're"),
    }
)
"""Function words, save those that others in Latin letters often use too (a, in, is, was, of)."""
_MOST_TEXTS = 1000
_ENGLISH_SHARE = 0.06
"""English has 0.15 to 0.4 of these words; nine other languages in Latin letters (asset `dialogues`) have up to 0.01."""


@dataclass(frozen=True, slots=True)
class Language:
    """`en`, `zh` or `other`; `confidence` is between 0 and 1, and `reason` says what it rests on."""

    code: Literal["en", "zh", "other"]
    confidence: float
    reason: str


def detect_language(texts: Iterable[str]) -> Language:
    """The language that most of the first 1,000 texts are in."""
    text = "\n".join(islice(texts, _MOST_TEXTS))
    letters = len(_LETTER.findall(text))
    if not letters:
        return Language("other", 0.0, "there are no letters")
    share = {name: len(pattern.findall(text)) / letters for name, pattern in _SCRIPTS.items()}
    if share["Han"] > 0.3 and share["kana"] < 0.05:
        return Language("zh", min(1.0, share["Han"] / 0.6), f"{share['Han']:.0%} of the letters are Chinese")
    main = max(share, key=lambda name: share[name])
    if main != "Latin" or share[main] < 0.5:
        told = f"{share[main]:.0%} of the letters are {main}" if share[main] >= 0.5 else "other scripts prevail"
        return Language("other", max(share[main], 1 - sum(share.values())), told)
    words = [word.lower() for word in _WORD.findall(text)]
    english = sum(word in _ENGLISH for word in words) / len(words)
    reason = f"{english:.0%} of the words are English function words"
    if english >= _ENGLISH_SHARE:
        return Language("en", min(1.0, english / (2 * _ENGLISH_SHARE)), reason)
    return Language("other", 1 - english / _ENGLISH_SHARE, f"Latin letters, but only {reason}")
