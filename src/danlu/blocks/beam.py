"""Writing a sequence token after token: greedily, or by a beam of the likeliest beginnings."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from danlu.contracts import Answer, Arrays, Delta, Example
from danlu.core.errors import DataError

_MOST, _MOST_BEAMS = 4096, 16
SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "beams": {"type": "integer", "minimum": 1, "maximum": _MOST_BEAMS},
        "most": {"type": "integer", "minimum": 1, "maximum": _MOST},
        "length_penalty": {"type": "number", "minimum": 0, "maximum": 5},
    },
    "required": ["text"],
    "additionalProperties": False,
}
ANSWER = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "confidence": {"type": "number"},
        "tokens": {"type": "integer"},
        "ended": {"type": "boolean"},
    },
    "required": ["text", "confidence", "tokens", "ended"],
}


@dataclass(frozen=True)
class Request:
    """A text, and how another is to be written from it."""

    text: str
    beams: int
    most: int
    length_penalty: float

    @classmethod
    def of(cls, x: Any, defaults: Any) -> Self:
        """From a string, or from `{"text", "beams", "most", "length_penalty"}`. Raises DataError."""
        given = {"text": x} if isinstance(x, str) else dict(x) if isinstance(x, Mapping) else {}
        options = {name: getattr(defaults, name) for name in ("beams", "most", "length_penalty")}
        if unknown := sorted(map(str, given.keys() - {"text", *options})):
            raise DataError(f"a request has no {unknown[0]!r}", do=f"it has: text, {', '.join(options)}")
        if not isinstance(given.get("text"), str):
            raise DataError(f"give a text, as a string or as `text`, not {type(x).__name__}")
        made = cls(**{**options, **given})
        for name, kinds, low, high in (
            ("beams", int, 1, _MOST_BEAMS), ("most", int, 1, _MOST), ("length_penalty", int | float, 0, 5),
        ):  # fmt: skip
            value = getattr(made, name)
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                raise DataError(f"{name} must be a number from {low} to {high}, not {value!r:.40}")
        return made


@dataclass(frozen=True)
class Beginning:
    """What was written so far, the token that starts a sequence included: −log p in nats, and the model's state."""

    ids: tuple[int, ...]
    nll: float = 0.0
    state: Any = None
    ended: bool = False

    @property
    def tokens(self) -> int:
        """How many were written, the one that ends included."""
        return len(self.ids) - 1

    def score(self, penalty: float) -> float:
        """log p over ((5 + length) / 6)^penalty, so that a short sequence does not win by its length (Wu et al.,
        2016)."""
        return float(-self.nll / ((5 + max(self.tokens, 1)) / 6) ** penalty)

    @property
    def confidence(self) -> float:
        """The mean probability (geometric) of a token."""
        return math.exp(-self.nll / max(self.tokens, 1))


def _quiet(_: Beginning) -> str:
    return ""


def search(
    make: Callable[[Beginning], Example],
    start: int,
    end: int,
    asked: Request,
    *,
    heard: Callable[[Beginning], str] = _quiet,
) -> Generator[list[Example] | Delta, list[Arrays], Beginning]:
    """The talk of a search, `asked.beams` beginnings wide; it stops when as many have ended. The best of them.

    `make` gives the example that asks for the token after a beginning: `logits` [1, vocabulary]. With one beam each
    token is the likeliest; `heard` then gives the piece of text that a beginning adds to those before it.
    """
    live, done = [Beginning((start,))], list[Beginning]()
    while live[0].tokens < asked.most and len(done) < asked.beams:
        examples = [make(one) for one in live]
        outputs = yield examples
        states = [example.state for example in examples]
        found = _likeliest([one["logits"][0] for one in outputs], live, states, end, 2 * asked.beams)
        done += [one for one in found[: asked.beams] if one.ended]
        live = [one for one in found if not one.ended][: asked.beams]
        if asked.beams == 1 and (piece := heard((done or live)[0])):
            yield Delta(piece)
    return max(done or live, key=lambda one: one.score(asked.length_penalty))


def write(
    make: Callable[[Beginning], Example], start: int, end: int, asked: Request, text: Callable[[Sequence[int]], str]
) -> Generator[list[Example] | Delta, list[Arrays], Answer]:
    """The talk of `search`, with its answer; one beam says its text piece by piece, whole characters at a time."""
    said = ""

    def heard(one: Beginning) -> str:
        nonlocal said
        now, before = text(one.ids[1:]), said
        last = one.ended or one.tokens >= asked.most
        if not last and (now.endswith("\ufffd") or not now.startswith(said)):
            return ""
        said = now
        return now[len(before) :]

    best = yield from search(make, start, end, asked, heard=heard)
    whole = text(best.ids[1:])
    return {"text": whole, "confidence": best.confidence, "tokens": best.tokens, "ended": best.ended}


def _likeliest(
    scores: Sequence[Any], live: Sequence[Beginning], states: Sequence[Any], end: int, count: int
) -> list[Beginning]:
    """The likeliest ways to go on by a token, the best first. Raises DataError for scores that are no numbers."""
    rows = np.asarray(scores, dtype=np.float64)
    top = rows.max(1, keepdims=True)
    if not np.isfinite(top).all():
        raise DataError("the model's scores are not finite numbers", do="train it again with a lower lr")
    norm = top[:, 0] + np.log(np.exp(rows - top).sum(1))
    cost = (np.array([one.nll for one in live]) + norm)[:, None] - rows
    flat, width = cost.ravel(), cost.shape[1]
    few = np.argpartition(flat, min(count, len(flat)) - 1)[:count]
    few = few[np.lexsort((few, flat[few]))]
    found = []
    for place in few.tolist():
        row, token = divmod(place, width)
        one = live[row]
        found.append(Beginning((*one.ids, token), float(flat[place]), states[row], token == end))
    return found
