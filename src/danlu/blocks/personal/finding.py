"""Personal data in texts and in columns of them: which kinds there are, where each one lies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.personal import accounts, documents, keys, network, phones, plates
from danlu.blocks.personal.folding import ODD, fold
from danlu.blocks.personal.recogniser import Recogniser

Kind: TypeAlias = Literal[
    "url_credentials",
    "api_key",
    "iban",
    "resident_id",
    "bank_card",
    "email",
    "passport",
    "ip",
    "phone",
    "licence_plate",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The surer before the less sure: of two that overlap, the surer one gives the name."""

_RECOGNISERS: dict[str, Recogniser] = {
    one.kind: one
    for one in (
        network.URL_CREDENTIALS, keys.API_KEY, accounts.IBAN, documents.RESIDENT_ID, accounts.BANK_CARD,
        network.EMAIL, documents.PASSPORT, network.IP, phones.PHONE, plates.LICENCE_PLATE,
    )
}  # fmt: skip
_HINTS = {kind: re.compile(one.hint) for kind, one in _RECOGNISERS.items()}
NAMES = ("person", "organisation")
"""What no pattern finds: a model does, see `names`."""
_SURENESS: dict[str, int] = {kind: place for place, kind in enumerate((*KINDS, *NAMES))}


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of personal data: `text[start:end]` is of this kind. It does not hold the text."""

    kind: str
    start: int
    end: int


def find(texts: Iterable[str], kinds: Sequence[str] = KINDS) -> list[list[Found]]:
    """For each text what is in it, by place and without overlap.

    Where two overlap, both are one: it has the surer kind (the order of `KINDS`) and covers both.
    """
    return [_find(text, kinds) for text in texts]


def find_in(column: pa.ChunkedArray, kinds: Sequence[str] = KINDS) -> dict[int, list[Found]]:
    """Row → what is in it, for the rows of a text column that hold any; only these leave Arrow."""
    hints = "|".join([*(f"(?:{_RECOGNISERS[kind].hint})" for kind in kinds), ODD])
    maybe = pc.fill_null(pc.match_substring_regex(column, pattern=hints), False)
    rows: Any = np.flatnonzero(maybe.to_numpy())
    texts = column.take(pa.array(rows)).to_pylist()
    return {int(row): found for row, found in zip(rows, find(texts, kinds), strict=True) if found}


def _find(text: str, kinds: Sequence[str]) -> list[Found]:
    folded, places = fold(text)
    found = [
        Found(kind, start, end)
        for kind in kinds
        if _HINTS[kind].search(folded)
        for start, end in _RECOGNISERS[kind].spans(folded)
    ]
    apart = joined(found)
    return apart if places is None else [Found(f.kind, places[f.start], places[f.end - 1] + 1) for f in apart]


def joined(found: Iterable[Found]) -> list[Found]:
    """What was found, by place; two that overlap are one, of the surer kind."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda f: (f.start, -f.end)):
        if kept and one.start < kept[-1].end:
            last = kept.pop()
            kind = min(last.kind, one.kind, key=_SURENESS.__getitem__)
            one = Found(kind, last.start, max(last.end, one.end))
        kept.append(one)
    return kept
