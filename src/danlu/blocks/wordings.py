"""How words are repeated in many texts at once, as bounds: to find the few texts that need a closer look.

Words are those of `blocks/grams.words` in lower case. They are known by hashes, so a count of what is repeated can be
too high by chance, and never too low.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]

_BLOCK = 1 << 16
"""Characters that are looked at at once: their arrays stay in a core's cache."""
_ROWS, _LONGEST = 1 << 15, 500
_LATIN, _CHINESE, _SPACE, _LETTER, _JOINS, _ODD = 1, 2, 4, 8, 16, 32
_KINDS = (_LATIN, _CHINESE, _SPACE)
_RANGES = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
_SHARED = range(0xF900, 0xFB00)
"""A word each, and not in every regular expression a character without spaces."""
_AMONG_OTHERS = "\u0130\u03a3"
"""In lower case two characters, or another one at the end of a word."""
_A, _B = np.uint32(0x9E3779B1), np.uint32(0x85EBCA77)
_WIDE = np.uint64(0x9E3779B97F4A7C15)
_PLACE, _MOST = 48, (1 << 13) - 1
_INSIDE = np.uint64((1 << _PLACE) - 1 - _MOST)
_RUN, _SHORT = 5, 50


@dataclass(frozen=True, slots=True)
class Wordings:
    """Of n texts, each an array [n]; only where `known`, elsewhere somebody has to look at the text."""

    known: Array
    words: Array
    characters: Array
    """In words."""
    longest: Array
    """Characters of the longest word."""
    spaced: Array
    """Words in scripts that have spaces, an apostrophe taken for one; and their characters."""
    spaced_characters: Array
    lettered: Array
    """At most the words with a letter: those that begin with one."""
    symbols: Array
    """At least the runs of symbols that stand alone."""
    doubled: Array
    """Whether most words are single characters of Chinese or Japanese, of which two are counted as one below."""
    pair: Array
    """At least the count of a pair of words, times its characters, where that is greatest; of pairs that come twice, or
    in texts below 50 words three times."""
    again: Array
    """At least the characters of the words that are in pairs that stood in the text before."""
    runs: Array
    """At least how many runs of five words stood in the text before; 0 where `again` is too small for that to matter.
    """
    run_characters: Array
    """At least how many characters these have, those in two of them counted twice; 0 likewise."""

    @classmethod
    def of(cls, texts: Sequence[str], share: float = 0.0) -> Self:
        """Look at all texts; up to a `share` of its words' characters nothing repeated in a text matters."""
        order, parts = list[int](), list[tuple[Array, ...]]()
        for rows in _blocks(texts):
            order += rows
            parts.append(_measured([texts[row] for row in rows], share))
        back = np.argsort(np.array(order, np.int64))
        return cls(*(np.concatenate(arrays)[back] for arrays in zip(*parts or [_measured([], share)], strict=True)))


def _blocks(texts: Sequence[str]) -> Iterator[list[int]]:
    """The places of texts to look at at once: those of a kind, which is quicker."""
    rows: tuple[list[int], ...] = [], [], []
    length = [0, 0, 0]
    for row, text in enumerate(texts):
        kind = 0 if text.isascii() else 1 + (text[len(text) // 2] > "\u3000")  # in Chinese, probably
        rows[kind].append(row)
        length[kind] += len(text)
        if length[kind] >= _BLOCK or len(rows[kind]) == _ROWS:
            yield rows[kind].copy()
            rows[kind].clear()
            length[kind] = 0
    yield from filter(None, rows)


@cache
def _kinds() -> Array:
    """What each character below U+FFFF is; the last entry is for those beyond."""
    characters = list(map(chr, range(1 << 16)))
    codes = np.arange(1 << 16)
    chinese = np.logical_or.reduce([(first <= codes) & (codes <= last) for first, last in _RANGES])
    latin = np.array(list(map(str.isalnum, characters))) | (codes == ord("_"))
    kinds = np.where(chinese, _CHINESE, _LATIN * latin)
    kinds |= _SPACE * np.array(list(map(str.isspace, characters)))
    kinds |= _LETTER * np.array(list(map(str.isalpha, characters)))
    kinds |= _JOINS * ((codes == ord("'")) | (codes == ord("\u2019")))
    kinds |= _ODD * ((codes >= _SHARED.start) & (codes < _SHARED.stop) | (codes == codes[-1]))
    kinds[list(map(ord, _AMONG_OTHERS))] |= _ODD
    return kinds.astype(np.uint8)


@cache
def _lower() -> Array:
    """The lower case of each character below U+FFFF."""
    return np.array([ord(chr(code).lower()[0]) for code in range(1 << 16)], np.uint32)


@cache
def _ascii_kinds() -> bytes:
    """What each character of ASCII is."""
    return _kinds()[:128].tobytes().ljust(256, b"\0")


def _read(texts: Sequence[str]) -> tuple[Array, Array]:
    """The lower case and the kind of each character, with a line end after each text."""
    whole = "\n".join(texts) + "\n"
    if whole.isascii():
        raw = whole.encode()
        codes = np.frombuffer(raw.lower(), np.uint8).astype(np.uint32)
        return codes, np.frombuffer(raw.translate(_ascii_kinds()), np.uint8)
    written = np.frombuffer(whole.encode("utf-32-le", "surrogatepass"), "<i4").astype(np.intp)
    return _lower().take(written, mode="clip"), _kinds().take(written, mode="clip")


def _measured(texts: Sequence[str], share: float) -> tuple[Array, ...]:
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    bounds = np.concatenate([[0], np.cumsum(lengths + 1)])[: len(texts) + 1]
    codes, kinds = _read(texts)
    known = _counts(kinds >= _ODD, bounds) == 0
    latin, chinese, space = ((kinds & kind) != 0 for kind in _KINDS)
    joins = (kinds & _JOINS) != 0
    joins[0] = False
    joins[1:-1] &= latin[:-2] & latin[2:]
    body = latin | joins
    start, last = chinese | (body & ~_before(body)), body | chinese
    last[:-1] &= ~last[1:] | start[1:]
    starts, ends = np.flatnonzero(start), np.flatnonzero(last)
    at = np.searchsorted(starts, bounds)
    words = np.diff(at)
    row, length, kind = np.repeat(np.arange(len(texts)), words), ends + 1 - starts, kinds[starts]
    known &= np.bincount(row[length > _LONGEST], minlength=len(texts)) == 0
    characters, alone = _totals(length, at), _totals((kind & _CHINESE) != 0, at)
    parted, doubled = _counts(joins, bounds), 2 * alone > words
    hashes = _hashes(codes, starts, ends)
    return (
        known,
        words,
        characters,
        _longest(length, row, len(texts)),
        words - alone + parted,
        characters - alone - parted,
        _totals((kind & _LETTER) != 0, at),
        _counts(~(latin | space) & np.append(True, space[:-1]), bounds),
        doubled,
        *_repetition(hashes, length, row, words, characters, doubled, share),
    )


def _repetition(
    hashes: Array, length: Array, row: Array, words: Array, characters: Array, doubled: Array, share: float
) -> tuple[Array, Array, Array, Array]:
    """`pair`, `again`, `runs` and `run_characters` of texts."""
    least = np.where(words < _SHORT * (1 + doubled), 3, 2)
    pair, again, runs, sizes = np.zeros((4, len(words)), np.int64)
    for each, mine in ((1, ~doubled), (2, doubled)):
        found = _repeated(hashes, length, row, mine, 2 * each)
        pair += _greatest(found, least)
        again += _characters(found, len(words))
        found = _repeated(hashes, length, row, mine & (again > share * characters), _RUN * each)
        runs += np.bincount(found >> _PLACE, minlength=len(words))
        sizes += _characters(found, len(words))
    return pair, again, runs, sizes


def _before(mask: Array) -> Array:
    """The value one place earlier."""
    return np.append(False, mask[:-1])


def _counts(mask: Array, bounds: Array) -> Array:
    """How often it holds from each bound to the next."""
    return np.diff(np.searchsorted(np.flatnonzero(mask), bounds))


def _totals(values: Array, at: Array) -> Array:
    """The sum from each place to the next."""
    return np.diff(np.concatenate([[0], np.cumsum(values)])[at])


def _longest(length: Array, row: Array, rows: int) -> Array:
    found = np.zeros(rows, np.int64)
    np.maximum.at(found, row, length)
    return found


def _hashes(codes: Array, starts: Array, ends: Array) -> Array:
    """A number for each word, made of its pairs of characters."""
    mixed, back = codes * _A, codes * _B
    first = mixed[starts]
    mixed[1:] += back[:-1]
    through = np.cumsum(_stirred(mixed), dtype=np.uint32)
    return (through[ends] - through[starts] + _stirred(first)).astype(np.uint64)


def _stirred(values: Array) -> Array:
    """Other numbers for numbers of 32 bits, none for two of them: a sum of these tells what was summed."""
    made = values + values
    made += np.uint32(1)
    made *= values
    return made


def _repeated(hashes: Array, length: Array, row: Array, mine: Array, size: int) -> Array:
    """A number for each run of `size` words that stood before in its text, one of `mine`: row, hash and characters.

    A run that begins in the text before is taken for one of a text too.
    """
    some = int(mine.sum())
    if 2 * some < len(mine):  # else it costs less to look at all
        here = np.flatnonzero(mine[row]) if some else np.zeros(0, np.int64)
        hashes, length, row = hashes[here], length[here], row[here]
    if len(hashes) < size:
        return np.zeros(0, np.int64)
    runs = len(hashes) + 1 - size
    made = hashes[:runs] * _WIDE
    for place in range(1, size):
        made += hashes[place : place + runs]
        made *= _WIDE
    made &= _INSIDE
    keys = made.view(np.int64)
    through = np.concatenate([[0], np.cumsum(length)])
    keys |= through[size:] - through[:-size]
    keys |= row[size - 1 :] * (1 << _PLACE)
    keys.sort()  # of 16 bits for the row, 35 for the hash and 13 for the characters
    found: Array = keys[1:][keys[1:] == keys[:-1]]
    own: Array = found[mine[found >> _PLACE]]
    return own


def _characters(found: Array, rows: int) -> Array:
    """How many characters the runs found in each text have."""
    return np.bincount(found >> _PLACE, found & _MOST, minlength=rows).astype(np.int64)


def _greatest(found: Array, least: Array) -> Array:
    """In each text the characters of the run that has most of them, of those that are there so many times."""
    out = np.zeros(len(least), np.int64)
    if len(found):
        first = np.flatnonzero(np.append(True, found[1:] != found[:-1]))
        times = 1 + np.diff(np.append(first, len(found)))
        row, characters = found[first] >> _PLACE, found[first] & _MOST
        np.maximum.at(out, row, np.where(times >= least[row], times * characters, 0))
    return out
