"""Spans of a text that a sentinel stands for, and the text that names them (Raffel et al., 2020, section 3.1.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from danlu.core.errors import RecipeError

Ids = np.ndarray[Any, np.dtype[np.int64]]

_SENTINEL = re.compile(r"<extra_id_(\d+)>")


@dataclass(frozen=True, eq=False)
class Sentinels:
    """What hiding must know of a tokenizer: the sentinels in their order, what ends a text, which ids are special."""

    ids: tuple[int, ...]
    start: int
    end: int
    special: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def of(cls, processor: Any) -> Sentinels:
        """Those of a processor, made once for each. Raises RecipeError when its tokenizer has none."""
        return _sentinels(processor)


@lru_cache(maxsize=8)
def _sentinels(processor: Any) -> Sentinels:
    special = np.zeros(processor.size, dtype=bool)
    special[sorted(processor.specials())] = True
    found = {int(m[1]): k for k in processor.specials() if (m := _SENTINEL.fullmatch(processor.token(k)))}
    end = processor.special("eos_token")
    if not found or end is None:
        lacking = "no sentinels (<extra_id_0> and so on)" if not found else "no token that ends a text"
        what = f"the tokenizer has {lacking}, so no span can be hidden"
        do = "backbone=t5 with a tokenizer that is learnt (bpe, unigram), or one taken from a T5"
        raise RecipeError(what, where="backbone.tokenizer", do=do)
    return Sentinels(tuple(found[k] for k in sorted(found)), processor.pad_id, int(end), special)


@dataclass(frozen=True, eq=False)
class Hidden:
    """A block with spans hidden: what is read, what is written, and which document each belongs to, from 1."""

    read: Ids
    segments: Ids
    written: Ids
    written_segments: Ids
    """What the decoder is given; a document begins with the token that starts a text."""
    targets: Ids
    """What it is to say at each place."""


def hide(ids: Ids, segments: Ids, known: Sentinels, share: float, mean: float, rng: np.random.Generator) -> Hidden:
    """Spans of `mean` tokens hidden in each document of a block, `share` of its tokens together.

    A document too short for a span is left whole, and nothing is asked of it. A block that has no other document asks
    for the end alone.
    """
    read, where, targets = [], [], []
    for document in range(1, int(segments[-1]) + 1):
        whole = ids[segments == document]
        free = np.flatnonzero(~known.special[whole])
        noise = _noise(len(free), share, mean, len(known.ids), rng)
        kept, said = _split(whole, free, noise, known)
        read.append(kept)
        where.append(document)
        targets.append(said)
    if not any(map(len, targets)):
        targets[0] = np.array([known.end], dtype=np.int64)
    given = [np.concatenate([[known.start], said[:-1]]).astype(np.int64) if len(said) else said for said in targets]
    return Hidden(
        np.concatenate(read),
        np.repeat(where, [*map(len, read)]).astype(np.int64),
        np.concatenate(given),
        np.repeat(where, [*map(len, given)]).astype(np.int64),
        np.concatenate(targets),
    )


def _noise(tokens: int, share: float, mean: float, most: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Which span each token is in, from 1; 0 is in none. As in T5's own code, a text begins with tokens that are in
    none and ends with a span."""
    spans_of = np.zeros(tokens, dtype=np.int64)
    hidden = min(max(round(tokens * share), 1), tokens - 1)
    if hidden < 1:
        return spans_of
    spans = max(min(round(hidden / mean), tokens - hidden, most), 1)
    place = 0
    kept, lengths = _parts(tokens - hidden, spans, rng), _parts(hidden, spans, rng)
    for number, (between, length) in enumerate(zip(kept, lengths, strict=True), 1):
        place += between
        spans_of[place : place + length] = number
        place += length
    return spans_of


def _parts(total: int, count: int, rng: np.random.Generator) -> list[int]:
    """`count` numbers of at least 1 that add up to `total`, all ways alike."""
    cuts = np.sort(rng.permutation(total - 1)[: count - 1]) + 1
    return np.diff([0, *cuts.tolist(), total]).tolist()  # type: ignore[no-any-return]


def _split(whole: Ids, free: Any, noise: Any, known: Sentinels) -> tuple[Ids, Ids]:
    """A document with a sentinel in the place of each span, and the spans, each after its sentinel."""
    of = np.zeros(len(whole), dtype=np.int64)
    of[free] = noise
    read: list[int] = []
    said: list[int] = []
    for place, (token, span) in enumerate(zip(whole.tolist(), of.tolist(), strict=True)):
        if not span:
            read.append(token)
            continue
        if not place or of[place - 1] != span:
            read.append(known.ids[span - 1])
            said.append(known.ids[span - 1])
        said.append(token)
    return np.array(read, dtype=np.int64), np.array([*said, known.end] if said else [], dtype=np.int64)


def gaps(ids: Any, known: Sentinels) -> list[int]:
    """The sentinels in a text, in their order in it."""
    chosen = set(known.ids)
    return [token for token in np.asarray(ids).tolist() if token in chosen]


def filled(ids: Any, written: Any, known: Sentinels) -> tuple[list[int], dict[int, list[int]]]:
    """A text with what was written after each sentinel in its place, and those parts by sentinel."""
    chosen, parts, now = set(known.ids), dict[int, list[int]](), list[int]()
    for token in np.asarray(written).tolist():
        if token in chosen:
            now = parts.setdefault(token, [])
        elif not known.special[token]:
            now.append(token)
    whole = [
        other for token in np.asarray(ids).tolist() for other in (parts.get(token, []) if token in chosen else [token])
    ]
    return whole, parts
