"""Answers that stand in a text: rows that hold them, windows over long texts, and the likeliest spans of a window.

An answer is `{"text", "start", "end", "score", "no_answer", "best"}`: the characters from `start` up to `end` of the
context, None and an empty text where there is none. A window's scores are [tokens, 2], of a beginning and of an end;
its first token, which is none of the context, stands for no answer (Devlin et al., 2019, section 4.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from danlu.blocks.tokens import Ids
from danlu.core.errors import DataError, RecipeError

_SPECIAL = -1
Span = tuple[int, int]


# ---- rows ------------------------------------------------------------------------------------------------------------


def is_nested(kind: pa.DataType) -> bool:
    """Whether a column holds answers as SQuAD's files do: `{text: [str], answer_start: [int]}`."""
    return pa.types.is_struct(kind) and {"text", "answer_start"} <= {field.name for field in kind}


def true_spans(cell: Any, start: int | None = None) -> list[tuple[str, int | None]] | None:
    """The true answers in a cell, and where each is said to begin: none where there is no answer; None if not known.

    Raises DataError for a list with a missing text, or with more or fewer places than texts.
    """
    if cell is None or isinstance(cell, str):
        return None if cell is None else [(cell, start)] if cell.strip() else []
    texts, starts = cell["text"], cell["answer_start"]
    if texts is None:
        return None
    starts = starts or [None] * len(texts)
    if None in texts or len(starts) != len(texts):
        what = f"an answer that lacks a text, or a place for each: {len(texts)} texts, {len(starts)} places"
        raise DataError(what, do="write as many in `answer_start` as in `text`, or none of them at all")
    return list(zip(texts, starts, strict=True))


def find(context: str, text: str, start: int | None) -> int | None:
    """Where a text stands in a context: nearest to `start`, else where it stands first; None where it does not."""
    if start is None or context[start : start + len(text)] == text:
        place = context.find(text) if start is None else start
        return None if place < 0 else place
    places = [context.rfind(text, 0, start + len(text)), context.find(text, start)]
    return min((p for p in places if p >= 0), key=lambda place: abs(place - start), default=None)


def told(text: str, start: int | None, end: int | None, score: float, no_answer: float, **more: Any) -> dict[str, Any]:
    """An answer, see above."""
    return {"text": text, "start": start, "end": end, "score": score, "no_answer": no_answer, "best": [], **more}


def distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Of the same span the difference of the scores, else the share of the characters that only one of both has."""
    one, other = ((answer["start"], answer["end"]) for answer in (a, b))
    if a["text"] == b["text"] and (one == other or None in (*one, *other)):
        return float(max(abs(a["score"] - b["score"]), abs(a["no_answer"] - b["no_answer"])))
    if None in (*one, *other):
        return 1.0
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return float(1 - shared / (max(one[1], other[1]) - min(one[0], other[0])))


# ---- inputs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """What is asked of which text, and how many answers are told."""

    question: str
    context: str
    n_best: int = 1

    @classmethod
    def of(cls, x: Any) -> Question:
        """An input, checked. Raises DataError."""
        if not isinstance(x, Mapping) or not {"question", "context"} <= x.keys() <= {"question", "context", "n_best"}:
            raise DataError(
                'an input is a question and a text: {"question": "…", "context": "…"}, and perhaps "n_best"'
            )
        if not all(isinstance(x[name], str) for name in ("question", "context")):
            raise DataError("question and context must be texts")
        if blank := [name for name in ("question", "context") if not x[name].strip()]:
            raise DataError(f"the {blank[0]} is empty")
        many = x.get("n_best", 1)
        if not isinstance(many, int) or isinstance(many, bool) or not 1 <= many <= MOST_BEST:
            raise DataError(f"n_best is a whole number from 1 to {MOST_BEST}, not {many!r}")
        return cls(x["question"], x["context"], many)


MOST_BEST = 100
_TEXT = {"type": "string"}
REQUEST = {
    "type": "object",
    "properties": {
        "question": _TEXT,
        "context": _TEXT,
        "n_best": {"type": "integer", "minimum": 1, "maximum": MOST_BEST},
    },
    "required": ["question", "context"],
    "additionalProperties": False,
}
_PLACE = {"type": ["integer", "null"], "minimum": 0}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_SPAN = {"text": _TEXT, "start": _PLACE, "end": _PLACE, "score": _SHARE}
_SPANS = {"type": "array", "items": {"type": "object", "properties": _SPAN, "required": list(_SPAN)}}
_ANSWER = {**_SPAN, "no_answer": _SHARE, "best": _SPANS}
ANSWER = {"type": "object", "properties": _ANSWER, "required": list(_ANSWER)}


# ---- windows ---------------------------------------------------------------------------------------------------------


class Window(NamedTuple):
    """What a model reads at once: its arrays, and where in the context each token stands [tokens, 2], −1 elsewhere."""

    inputs: dict[str, Ids]
    places: Ids

    @property
    def open(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """The tokens that an answer can begin and end at: those of the context, and the first, which says none."""
        found: np.ndarray[Any, np.dtype[np.bool_]] = self.places[:, 1] > self.places[:, 0]
        found[0] = True
        return found

    def tokens(self, start: int, end: int) -> Span | None:
        """The first and the last token of the characters from `start` up to `end`; None where it lacks some of them."""
        own = np.flatnonzero(self.places[:, 1] > self.places[:, 0])
        inside = own[(self.places[own, 1] > start) & (self.places[own, 0] < end)]
        if not len(inside) or self.places[inside[0], 0] > start or self.places[inside[-1], 1] < end:
            return None
        return int(inside[0]), int(inside[-1])


def windows(processor: Any, asked: Question, limit: int, overlap: int, most: int) -> list[Window]:
    """The question, cut to `most` tokens, with each stretch of the context: `limit` tokens, `overlap` of them shared.

    The question gets at most half of a window, and two windows share at most half of their context.
    """
    whole = processor.placed(asked.question, asked.context)
    limit = min(limit, processor.most or limit)
    own = np.flatnonzero(whole.of == 1)
    before, after = (own[0], own[-1] + 1) if len(own) else (len(whole.ids), len(whole.ids))
    special = int((whole.of == _SPECIAL).sum())
    question = np.flatnonzero(whole.of == 0)
    dropped = question[min(most, max(1, (limit - special) // 2)) :]
    head = np.setdiff1d(np.arange(before), dropped)
    tail = np.arange(after, len(whole.ids))
    room = limit - len(head) - len(tail)
    if room < 1:
        what = f"a window of {limit} tokens has no room for a text beside the question"
        raise RecipeError(what, where="max_length", do="data.task.extractive_qa.max_length=384")
    shared = min(overlap, room // 2)
    starts = range(0, max(len(own) - shared, 1), room - shared)
    places = _trimmed(whole.places, whole.of == 1, asked.context)
    return [_window(whole, places, np.concatenate([head, own[k : k + room], tail])) for k in starts]


def _trimmed(places: Ids, own: Any, context: str) -> Ids:
    """Where the context's tokens stand without the space that byte-level tokens hold before a word; −1 elsewhere."""
    space = np.fromiter(map(str.isspace, context), dtype=bool, count=len(context))
    start, end = places[own].T
    while (blank := (start < end) & space[np.minimum(start, len(space) - 1)]).any():
        start = start + blank
    while (blank := (start < end) & space[end - 1]).any():
        end = end - blank
    made = np.full_like(places, -1)
    made[own] = np.stack([start, end], axis=1)
    return made


def _window(whole: Any, places: Ids, chosen: Any) -> Window:
    ids = whole.ids[chosen]
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if whole.types is not None:
        inputs["token_type_ids"] = whole.types[chosen]
    return Window(inputs, places[chosen])


# ---- the likeliest spans ---------------------------------------------------------------------------------------------


def likeliest(logits: Any, window: Window, longest: int, n: int) -> tuple[float, dict[Span, float]]:
    """How probable it is that the window holds no answer, and the `n` likeliest spans of at most `longest` characters.

    A span's probability is that of its beginning times that of its end, among all tokens that are open.
    """
    scores = np.asarray(logits, dtype=np.float64)[: len(window.places)]
    shares = _softmax(np.where(window.open[:, None], scores, -np.inf))
    own = np.flatnonzero(window.places[:, 1] > window.places[:, 0])
    begins, ends = window.places[own, 0], window.places[own, 1]
    length = ends[None, :] - begins[:, None]
    fits = (length > 0) & (length <= longest) & np.tri(len(own), dtype=bool).T
    product = np.where(fits, shares[own, 0][:, None] * shares[own, 1][None, :], -1.0).ravel()
    order = np.argsort(-product, kind="stable")[:n] if n >= len(product) else _highest(product, n)
    found: dict[Span, float] = {}
    for place in order[product[order] >= 0].tolist():
        first, last = divmod(place, len(own))
        span = int(begins[first]), int(ends[last])
        found[span] = max(found.get(span, 0.0), float(product[place]))
    return float(shares[0, 0] * shares[0, 1]), found


def _highest(values: Any, n: int) -> Any:
    some = np.argpartition(-values, n)[:n]
    return some[np.argsort(-values[some], kind="stable")]


def _softmax(scores: Any) -> Any:
    powers = np.exp(scores - scores.max(0))
    shares = powers / powers.sum(0)
    if not np.isfinite(shares).all():
        raise DataError("the model's scores are not finite numbers", do="train it again with a lower lr")
    return shares


def answer(
    asked: Question, found: Sequence[tuple[float, dict[Span, float]]], threshold: float | None
) -> dict[str, Any]:
    """The answer of all windows; none where it is likelier than `threshold` that there is none (None: always one).

    A span counts as the window has it that is surest of it, no answer as the one that is least sure: a text without the
    answer has it in no window. `no_answer` is none's share of none and the best span.
    """
    spans: dict[Span, float] = {}
    for _, ones in found:
        for (start, end), score in ones.items():
            text = asked.context[start:end]
            start, end = start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())
            if start < end:
                spans[start, end] = max(spans.get((start, end), 0.0), score)
    none = min(one for one, _ in found)
    order = sorted(spans.items(), key=lambda item: (-item[1], item[0]))[: asked.n_best]
    best = [{"text": asked.context[s:e], "start": s, "end": e, "score": score} for (s, e), score in order]
    most = order[0][1] if order else 0.0
    share = none / (none + most) if best and none + most > 0 else 1.0
    if not best or (threshold is not None and share > threshold):
        return told("", None, None, none, share, best=best)
    return {**best[0], "no_answer": share, "best": best}
