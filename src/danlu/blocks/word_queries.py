"""What word vectors are asked: a word, a sum of words, a text; and what they answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.contracts import Arrays
from danlu.core.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

_SUM = re.compile(r"\S+(?:\s+[+\-−]\s+\S+)+")
_TERM = re.compile(r"([+\-−])\s+(\S+)")
_ASK = 'a word, "king - man + woman", a text, or one of {"word": …}, {"a": …, "b": …, "c": …}, {"text": …}'


class Sentence(str):
    """A string that is a text, even where it is one word."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Sum:
    """Words to be added (1) and taken away (-1); `shown` as a person writes it."""

    shown: str
    words: tuple[str, ...]
    signs: tuple[int, ...]


def read(value: Any) -> str | Sentence | Sum:
    """A `Sum` of one word or more, a `Sentence`, or a string that may be a word or a text.

    Raises DataError for anything else.
    """
    if isinstance(value, Sum | Sentence):
        return value
    if isinstance(value, str):
        return _sum(value.strip()) if _SUM.fullmatch(value.strip()) else value
    fields = dict(value) if isinstance(value, Mapping) else {}
    if all(isinstance(field, str) for field in fields.values()):
        match sorted(fields):
            case ["text"]:
                return Sentence(fields["text"])
            case ["word"]:
                return Sum(fields["word"], (fields["word"],), (1,))
            case ["a", "b", "c"]:
                return _sum(f"{fields['a']} - {fields['b']} + {fields['c']}")
    raise DataError(f"word vectors are not asked with {value!r:.60}", do=f"ask with {_ASK}")


def _sum(text: str) -> Sum:
    first, _, rest = text.partition(" ")
    terms = _TERM.findall(rest)
    signs = (1, *(1 if sign == "+" else -1 for sign, _ in terms))
    return Sum(text, (first, *(word for _, word in terms)), signs)


def plain(x: Any) -> Any:
    """An input as a JSON value that `read` reads as the same."""
    match read(x):
        case Sentence() as text:
            return {"text": str(text)}
        case Sum(shown, words, _):
            return {"word": words[0]} if len(words) == 1 else shown
        case text:
            return text


def nearest(asked: Sum, names: tuple[str, ...], similarity: np.ndarray[Any, Any], most: int) -> dict[str, Any]:
    """The `most` words with the greatest similarity, without those that were asked with."""
    own = {word.strip().lower() for word in asked.words}
    order = np.argsort(-similarity, kind="stable")[: most + len(own)]
    near = [{"word": names[k], "similarity": _number(similarity[k])} for k in order if names[k] not in own][:most]
    return {"word" if len(asked.words) == 1 else "sum": asked.shown, "nearest": near}


def of_text(text: str, vectors: Any, fits: Any, unknown: list[str]) -> dict[str, Any]:
    """The answer about a text from the sums [pieces, size] and the fits [known words] of its words."""
    vector: np.ndarray[Any, Any] = np.sum(np.asarray(vectors, dtype=np.float64), axis=0)
    vector /= max(1e-12, float(np.linalg.norm(vector)))
    fit = _number(np.mean(fits)) if len(fits) > 1 else 0.5
    return {"text": text, "vector": [_number(number) for number in vector], "fit": fit, "unknown": unknown}


def _number(value: Any) -> float:
    return round(float(value), 6)


def misfit(outputs: Arrays, text: Tensor) -> Tensor:
    """What the words of each text (`text` [n, length]) lack of a `fit` of 1, added up: [n]. Guessing: half of each."""
    loss: Tensor = ((text >= 0) * (1 - outputs["fit"])).sum(-1)
    return loss


def distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """How far two answers lie apart, at most 1; answers to different questions do so by 1.

    Texts: the greater of half the way between their vectors and the difference of their fits; a truth has no vector.
    Words: half the greatest difference of a similarity; a word that one lacks is as similar there as its last one.
    """
    if any(a.get(key) != b.get(key) for key in ("text", "word", "sum")):
        return 1.0
    if "text" in a:
        gap = abs(float(a["fit"]) - float(b["fit"]))
        known = "vector" in a and "vector" in b
        apart = np.linalg.norm(np.subtract(a["vector"], b["vector"])) / 2 if known else 0.0
        return min(1.0, max(gap, float(apart)))
    one, other = ({near["word"]: near["similarity"] for near in answer["nearest"]} for answer in (a, b))
    last = (min(one.values(), default=0.0), min(other.values(), default=0.0))
    gaps = [abs(one.get(word, last[0]) - other.get(word, last[1])) for word in {*one, *other}]
    return min(1.0, max(gaps, default=0.0) / 2)


def request_schema() -> dict[str, Any]:
    """JSON Schema of what `read` takes from a request."""

    def fields(*names: str) -> dict[str, Any]:
        kinds = {name: {"type": "string"} for name in names}
        return {"type": "object", "properties": kinds, "required": list(names), "additionalProperties": False}

    return {"anyOf": [{"type": "string"}, fields("word"), fields("a", "b", "c"), fields("text")]}


def answer_schema() -> dict[str, Any]:
    """JSON Schema of an answer."""
    near = {
        "type": "object",
        "properties": {"word": {"type": "string"}, "similarity": {"type": "number"}},
        "required": ["word", "similarity"],
    }
    text = {
        "text": {"type": "string"},
        "fit": {"type": "number", "minimum": 0, "maximum": 1},
        "vector": {"type": "array", "items": {"type": "number"}},
        "unknown": {"type": "array", "items": {"type": "string"}},
    }
    words = {"word": {"type": "string"}, "sum": {"type": "string"}, "nearest": {"type": "array", "items": near}}
    return {
        "anyOf": [
            {"type": "object", "properties": text, "required": ["text", "fit"]},
            {"type": "object", "properties": words, "required": ["nearest"]},
        ]
    }
