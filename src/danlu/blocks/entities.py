"""Tags of words, and the entities they spell.

BIO, IOB and BIOES are read alike, as conlleval and seqeval do by default: an entity begins at `B-` or `S-`, or at
`I-` or `E-` where the type before is another; it ends before such a beginning, before `O`, and after `E-` or `S-`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

OUTSIDE = "O"
_WORD = re.compile(r"\w+|[^\w\s]")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Characters that are words of their own, in scripts without spaces."""


class Span(NamedTuple):
    """An entity: its type, its first word and the word after its last."""

    kind: str
    start: int
    end: int


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities of a sentence, in their order."""
    found: list[Span] = []
    kind, start, open_ = "", 0, False
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, own = tag.partition("-")
        inside = tag != OUTSIDE and bool(own)
        begins = inside and (prefix in "BS" or not open_ or own != kind)
        if open_ and (not inside or begins):
            found.append(Span(kind, start, place))
            open_ = False
        if begins:
            kind, start, open_ = own, place, True
        if open_ and prefix in "ES":
            found.append(Span(kind, start, place + 1))
            open_ = False
    return found


def words(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """The words and signs of a text, and where each stands; a Chinese or Japanese character is a word."""
    found: list[str] = []
    places: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        pieces = _pieces(match[0])
        start = match.start()
        for piece in pieces:
            found.append(piece)
            places.append((start, start + len(piece)))
            start += len(piece)
    return found, places


def _pieces(word: str) -> list[str]:
    if not _WIDE.search(word):
        return [word]
    return [piece for piece in re.split(f"({_WIDE.pattern})", word) if piece]


def answer(x: Any, tokens: Sequence[str], tags: Sequence[str], confidence: Sequence[float]) -> dict[str, Any]:
    """`{"entities", "tokens", "tags", "confidence"}`; see the task."""
    places = words(x)[1] if isinstance(x, str) else None
    told = []
    for kind, start, end in spans(tags):
        where = (places[start][0], places[end - 1][1]) if places is not None else (start, end)
        text = x[where[0] : where[1]] if places is not None else " ".join(tokens[start:end])
        sure = min(confidence[start:end])
        told.append({"label": kind, "text": text, "start": where[0], "end": where[1], "confidence": sure})
    return {"entities": told, "tokens": list(tokens), "tags": list(tags), "confidence": list(confidence)}


def distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """The greatest distance of two tags of a word: of their confidence where they are the same tag.

    Where they are not, it is what two certain enough answers must differ by (p + q − 1), and 0 at a tie.
    """
    if len(a["tags"]) != len(b["tags"]):
        return 1.0
    pairs = zip(a["tags"], b["tags"], a["confidence"], b["confidence"], strict=True)
    return max((abs(p - q) if one == other else max(p + q - 1, 0.0) for one, other, p, q in pairs), default=0.0)


SCHEMA = {
    "type": "object",
    "properties": {
        "entities": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "label": {"type": "string"},
                    "text": {"type": "string"},
                    "start": {"type": "integer"},
                    "end": {"type": "integer"},
                    "confidence": {"type": "number"},
                },
                "required": ["label", "text", "start", "end", "confidence"],
            },
        },
        "tokens": {"type": "array", "items": {"type": "string"}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "confidence": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["entities", "tokens", "tags", "confidence"],
}
