"""How much two answers to a question have in common, as SQuAD counts it (Rajpurkar et al., 2016 and 2018).

An answer is read in lower case, without punctuation and without the articles a, an, the. A Chinese or Japanese
character is a word of its own, as in CMRC 2018.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WIDE = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
_SIGNS = frozenset(string.punctuation)


def words(text: str) -> list[str]:
    """The words of an answer that count."""
    low = "".join(c for c in text.lower() if c not in _SIGNS and not unicodedata.category(c).startswith("P"))
    return _WIDE.sub(r" \1 ", _ARTICLES.sub(" ", low)).split()


def exact(text: str, other: str) -> float:
    """1 where both have the same words in the same order, else 0."""
    return float(words(text) == words(other))


def f1(text: str, other: str) -> float:
    """F1 of the words of two answers; where either has none, 1 if both have none, else 0."""
    one, two = words(text), words(other)
    if not one or not two:
        return float(one == two)
    return 2 * (Counter(one) & Counter(two)).total() / (len(one) + len(two))


def true_texts(gold: Mapping[str, Any]) -> Sequence[str]:
    """All texts that are right; the empty one alone where nothing is."""
    found: Sequence[str] = gold.get("texts") or [gold["text"]]
    return found


def best(measure: Callable[[str, str], float], answer: Mapping[str, Any], gold: Mapping[str, Any]) -> float:
    """A measure of an answer's text against the true one that it is nearest to."""
    return max(measure(answer["text"], text) for text in true_texts(gold))
