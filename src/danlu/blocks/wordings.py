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

_BLOCK = 1 << 14
"""Characters that are looked at at once: their arrays stay in a core's cache."""
_ROWS, _LONGEST = 1 << 15, 500
_LATIN, _CHINESE, _SPACE, _LETTER, _JOINS, _ODD = 1, 2, 4, 8, 16, 32
_KINDS = (_LATIN, _CHINESE, _SPACE)
_RANGES = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
_SHARED = range(0xF900, 0xFB00)
"""A word each, and not in every regular expression a character without spaces."""
_A, _B, _C, _MIX = (np.uint32(x) for x in (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F))
_WIDE = np.uint64(0x9E3779B97F4A7C15)
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
    """Words with a letter."""
    symbols: Array
    """At least the runs of symbols that stand alone."""
    doubled: Array
    """Whether most words are single characters of Chinese or Japanese, of which two are counted as one below."""
    pair: Array
    """At least the count of a pair of words, times its characters, where that is greatest; of pairs that come twice, or
    in texts below 50 words three times."""
    runs: Array
    """At least how many runs of five words stood in the text before."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """Look at all texts."""
        parts = [_measured(block) for block in _blocks(texts)] or [_measured([])]
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    block, length = list[str](), 0
    for text in texts:
        block.append(text)
        length += len(text)
        if length >= _BLOCK or len(block) == _ROWS:
            yield block
            block, length = [], 0
    if block:
        yield block


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
    return kinds.astype(np.uint8)


def _measured(texts: Sequence[str]) -> tuple[Array, ...]:
    lowered = [text.lower() for text in texts]
    lengths = np.fromiter(map(len, lowered), np.int64, len(texts))
    known = lengths == np.fromiter(map(len, texts), np.int64, len(texts))
    codes = np.frombuffer(("\n".join(lowered) + "\n").encode("utf-32-le", "surrogatepass"), "<u4")
    bounds = np.concatenate([[0], np.cumsum(lengths + 1)])[: len(texts) + 1]
    kinds = _kinds().take(codes, mode="clip")
    odd = kinds >= _ODD
    if odd.any():
        known &= _counts(odd, bounds) == 0
    latin, chinese, space = ((kinds & kind) != 0 for kind in _KINDS)
    joins = (kinds & _JOINS) != 0
    joins[1:-1] &= latin[:-2] & latin[2:]
    body = latin | joins
    inside = body | chinese
    start = chinese | (body & ~_before(body))
    starts, ends = np.flatnonzero(start), np.flatnonzero(inside & ~np.append(inside[1:] & ~start[1:], False))
    at = np.searchsorted(starts, bounds)
    row = np.repeat(np.arange(len(texts)), np.diff(at))
    length = ends + 1 - starts
    lettered = _spans((kinds & _LETTER) != 0, starts) > 0
    known &= np.bincount(row[length > _LONGEST], minlength=len(texts)) == 0
    hashes = _hashes(codes, inside, starts)
    doubled = 2 * _counts(chinese, bounds) > np.diff(at)
    least = np.where(np.diff(at) < _SHORT * (1 + doubled), 3, 2)
    pair, again = np.zeros((2, len(texts)), np.int64)
    for words, mine in ((1, ~doubled), (2, doubled)):
        here = mine[row]
        pair += _pairs(hashes[here], length[here], row[here], least, 2 * words)
        again += _repeated(hashes[here], row[here], len(texts), _RUN * words)
    runs = np.flatnonzero(latin & ~_before(latin)), np.flatnonzero(latin & ~np.append(latin[1:], False))
    run_row = np.searchsorted(runs[0], bounds)
    return (
        known,
        np.diff(at),
        _totals(length, at),
        _longest(length, row, len(texts)),
        np.diff(run_row),
        _totals(runs[1] + 1 - runs[0], run_row),
        _totals(lettered, at),
        _counts(~(latin | space) & np.append(True, space[:-1]), bounds),
        doubled,
        pair,
        again,
    )


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


def _hashes(codes: Array, inside: Array, starts: Array) -> Array:
    """A number for each word, made of its runs of three characters."""
    if not len(starts):
        return np.zeros(0, np.uint64)
    here = codes * inside
    back = np.append(np.uint32(0), here[:-1])
    back[starts] = 0
    further = np.append(np.uint32(0), back[:-1])
    further[starts] = 0
    mixed = here * _A
    mixed += back * _B
    mixed += further * _C
    mixed ^= mixed >> np.uint32(15)
    mixed *= _MIX
    mixed *= inside
    return _spans(mixed, starts).astype(np.uint64)


def _spans(values: Array, starts: Array) -> Array:
    """The sum of 32 bits from each start to the next; a difference of running sums, quicker than `reduceat`."""
    running = np.cumsum(values, dtype=np.uint32)
    through = np.append(running[starts[1:] - 1], running[-1:]) if len(starts) else running[:0]
    before = running[starts] - values[starts]
    return through - before


def _joined(hashes: Array, words: int) -> Array:
    """A number of 64 bits for each run of so many words."""
    made = hashes[: len(hashes) - words + 1].copy()
    for place in range(1, words):
        made *= _WIDE
        made += hashes[place : place + len(made)]
    made ^= made >> np.uint64(31)
    made *= _WIDE
    return made


def _pairs(hashes: Array, length: Array, row: Array, least: Array, size: int) -> Array:
    """Rows, hash and length in one number, so that equal runs of `size` words lie side by side when sorted."""
    out = np.zeros(len(least), np.int64)
    if len(hashes) < size:
        return out
    keys = _joined(hashes, size) >> np.uint64(28) << np.uint64(12)
    last = row[size - 1 :]
    keys |= np.sum([length[place : place + len(keys)] for place in range(size)], axis=0, dtype=np.uint64)
    keys |= last.astype(np.uint64) << np.uint64(48)
    keys = np.sort(keys[last == row[: len(last)]])
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    times = np.diff(np.append(first, len(keys)))
    found = (keys[first] >> np.uint64(48)).astype(np.int64)
    often = times >= least[found]
    weight = times[often] * (keys[first[often]] & np.uint64(4095)).astype(np.int64)
    np.maximum.at(out, found[often], weight)
    return out


def _repeated(hashes: Array, row: Array, rows: int, size: int) -> Array:
    if len(hashes) < size:
        return np.zeros(rows, np.int64)
    last = row[size - 1 :]
    within = last == row[: len(last)]
    keys = np.sort(((last.astype(np.uint64) << np.uint64(48)) | (_joined(hashes, size) >> np.uint64(16)))[within])
    again = keys[1:][keys[1:] == keys[:-1]] >> np.uint64(48)
    return np.bincount(again.astype(np.int64), minlength=rows)
