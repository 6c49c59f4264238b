"""Which tokens of a block are hidden, and what stands in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from danlu.contracts import Example
from danlu.core.errors import RecipeError

_SPAN_MEAN, _SPAN_MOST = 0.2, 10
"""SpanBERT's geometric distribution of the words in a span, and the longest."""

SAMPLE = (
    "the old grey cat sat on a mat by our kitchen door",
    "one bright morning seven birds began to sing very loudly",
    "ships from far harbours bring tea pepper salt and silk",
    "she wrote her brother two long letters about some mountain",
)
"""Sentences that share no word, so that each word can be told from the others."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What hiding must know of a tokenizer: the mask, which ids are special, which begin a word."""

    mask: int
    special: np.ndarray[Any, np.dtype[np.bool_]]
    begins: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def of(cls, processor: Any) -> Vocabulary:
        """The one of a processor, made once for each. Raises RecipeError when its tokenizer has no mask."""
        return _vocabulary(processor)


@lru_cache(maxsize=8)
def _vocabulary(processor: Any) -> Vocabulary:
    mask = processor.special("mask_token")
    if mask is None:
        what = "the tokenizer has no mask token, so nothing can be hidden"
        raise RecipeError(what, where="backbone", do="choose an encoder such as bert, or the task causal_lm")
    special = np.zeros(processor.size, dtype=bool)
    special[sorted(processor.specials())] = True
    return Vocabulary(mask, special, processor.begins_words())


def choose(ids: Any, vocabulary: Vocabulary, share: float, unit: str, rng: np.random.Generator) -> Any:
    """The places of the tokens to ask for, sorted, int64: `share` of all of them, special ones left out.

    A unit that would go beyond the number is still taken whole where it is the first.
    """
    free = np.flatnonzero(~vocabulary.special[ids])
    wanted = min(len(free), max(1, round(share * len(ids))))
    if unit == "token":
        return np.sort(rng.permutation(free)[:wanted]).astype(np.int64)
    words = np.split(free, np.flatnonzero(vocabulary.begins[ids[free]][1:] | (np.diff(free) > 1)) + 1)
    taken = np.zeros(len(ids), dtype=bool)
    for start in rng.permutation(len(words)):
        left = wanted - int(taken.sum())
        if left <= 0:
            break
        for word in words[start : start + (_span(rng) if unit == "span" else 1)]:
            new = int((~taken[word]).sum())
            if new > left and taken.any():
                break
            taken[word] = True
            left -= new
    return np.flatnonzero(taken).astype(np.int64)


def _span(rng: np.random.Generator) -> int:
    return int(min(rng.geometric(_SPAN_MEAN), _SPAN_MOST))


def hide(ids: Any, at: Any, vocabulary: Vocabulary, left: float, swapped: float, rng: np.random.Generator) -> Any:
    """A copy of the ids in which the places `at` are masked, save a share `left` as is and a share `swapped`."""
    hidden = ids.copy()
    drawn = rng.random(len(at))
    hidden[at[drawn >= left + swapped]] = vocabulary.mask
    some = at[(drawn >= left) & (drawn < left + swapped)]
    hidden[some] = rng.integers(0, len(vocabulary.special), len(some))
    return hidden


def asked(ids: Any, at: Any, tokens: Any = None) -> Example:
    """An example that asks at some places; at the first one where there is none, which then does not count."""
    places = at if len(at) else np.zeros(1, dtype=np.int64)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "at": places}
    if tokens is not None:
        inputs["tokens"] = tokens if len(at) else ids[:1]
    return Example(inputs, note=len(at))


def distance(a: Sequence[Sequence[Mapping[str, Any]]], b: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    """The greatest difference in probability of a token that either names first, over all gaps."""
    if len(a) != len(b):
        return 1.0
    gaps = [(_as_dict(one), _as_dict(other)) for one, other in zip(a, b, strict=True)]
    return max((abs(x.get(t, 0.0) - y.get(t, 0.0)) for x, y in gaps for t in (next(iter(x)), next(iter(y)))), default=0)


def _as_dict(gap: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {one["token"]: one["probability"] for one in gap}


SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "gaps": {
            "type": "array",
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"token": {"type": "string"}, "probability": {"type": "number"}},
                    "required": ["token", "probability"],
                },
            },
        },
    },
    "required": ["text", "gaps"],
}
