"""Texts that are nearly the same: MinHash and locality-sensitive hashing, every candidate verified.

A text counts as the set of its shingles: `size` characters (or words) in a row, without case, width and spacing. Two
texts are near when the Jaccard index of their sets (common / all) reaches the threshold. MinHash (Broder, 1997) finds
candidates: texts that agree on all rows of a band of their signatures (Leskovec et al., Mining of Massive Datasets,
chapter 3). The index itself is then counted over the shingles, each known by a hash of 32 bits.

Two steps, so that texts can come in pieces: `sketch` looks at each text alone, `clusters` and `matches` judge sketches.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from danlu.blocks.clusters import Places, unite
from danlu.blocks.grams import words
from danlu.blocks.language import detect_language
from danlu.blocks.splits import loose

Array: TypeAlias = np.ndarray[Any, Any]

MOST_HASHES = 128
"""The longest signature."""
_FOUND = 0.975
"""Two texts whose index is just the threshold become candidates with at least this probability."""
_MOST_NEIGHBOURS = 100
"""A text is compared with that many others of a bucket: only texts made from one template fill larger ones."""
_BLOCK = 1 << 16
"""Characters that are hashed at once: their arrays stay in a core's cache."""
_AT_ONCE = 1 << 21
"""Shingles that are compared at once."""
_BASE, _MIX, _FOLD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is kept of n texts: `shingles[starts[i]:starts[i + 1]]` (uint32) are those of text i, ascending, each once;
    `bands` [bands, n] (uint64) are equal where a whole band of two signatures is, `sums` [n] (uint64) where all
    shingles are.
    """

    starts: Places
    shingles: Array
    bands: Array
    sums: Array

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def sizes(self) -> Places:
        """How many shingles each text has."""
        return np.diff(self.starts)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The sketch of all texts, from those of pieces of them."""
        sizes = np.concatenate([part.sizes for part in parts])
        return cls(
            np.concatenate([[0], np.cumsum(sizes)]),
            np.concatenate([part.shingles for part in parts]),
            np.concatenate([part.bands for part in parts], axis=1),
            np.concatenate([part.sums for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Near:
    """What counts as nearly the same."""

    threshold: float = 0.8
    of: Literal["characters", "words"] = "characters"
    size: int = 5

    @property
    def shape(self) -> tuple[int, int]:
        """Bands and rows of a signature: as many rows as leave a pair at the threshold its chance."""
        for rows in range(MOST_HASHES, 1, -1):
            bands = MOST_HASHES // rows
            if 1 - (1 - self.threshold**rows) ** bands >= _FOUND:
                return bands, rows
        return MOST_HASHES, 1

    def sketch(self, texts: Sequence[str]) -> Sketch:
        """Looks at each text by itself; the same in pieces as at once."""
        bands, rows = self.shape
        parts = [_sketch(block, self, bands, rows) for block in _blocks(texts)]
        if not parts:
            empty = np.zeros((bands, 0), np.uint64)
            return Sketch(np.zeros(1, np.int64), np.zeros(0, np.uint32), empty, empty[0])
        return Sketch.join(parts)

    def clusters(self, sketch: Sketch) -> Places:
        """The cluster [n] of each text, named by its first text. Near texts are in one cluster, and so are theirs."""
        _, first, same = np.unique(sketch.sums, return_index=True, return_inverse=True)
        group: Places = first[same].astype(np.int64)
        different = np.sort(first)
        for band in sketch.bands:
            rows, bucket = _buckets(different, band)
            for step in range(1, _MOST_NEIGHBOURS):
                rows, bucket = _open(rows, bucket, group, step)
                if not len(rows):
                    break
                one, other = rows[:-step], rows[step:]
                pair = (bucket[:-step] == bucket[step:]) & (group[one] != group[other])
                one, other = one[pair], other[pair]
                near = jaccard(sketch, one, sketch, other, self.threshold) >= self.threshold
                group = unite(group, one[near], other[near])
        return group

    def matches(self, sketch: Sketch, known: Sketch) -> Places:
        """For each text of `sketch` one of `known` that it is near, or -1."""
        found: Places = np.full(len(sketch), -1)
        for mine, theirs in zip(sketch.bands, known.bands, strict=True):
            order = np.argsort(theirs, kind="stable")
            first, last = (np.searchsorted(theirs, mine, side, sorter=order) for side in ("left", "right"))
            last = np.minimum(last, first + _MOST_NEIGHBOURS)
            for step in range(int((last - first).max(initial=0))):
                rows = np.flatnonzero((found < 0) & (first + step < last))
                others = order[first[rows] + step]
                near = jaccard(sketch, rows, known, others, self.threshold) >= self.threshold
                found[rows[near]] = others[near]
        return found


def near_clusters(texts: Sequence[str], threshold: float = 0.8) -> Places:
    """The cluster [n] of each text, named by its first text, by character shingles of a size that fits the language."""
    near = Near(threshold, size=fitting_size(texts))
    return near.clusters(near.sketch(texts))


def fitting_size(texts: Sequence[str]) -> int:
    """Characters in a shingle: 3 in Chinese, where a character says as much as a short word, else 5."""
    return 3 if detect_language(texts).code == "zh" else 5


def jaccard(left: Sketch, one: Places, right: Sketch, other: Places, least: float = 0.0) -> Array:
    """The index [k] of text `one[k]` of `left` with text `other[k]` of `right`; 0 where it cannot reach `least`."""
    sizes, others = left.sizes[one], right.sizes[other]
    index = np.zeros(len(one))
    hopeful = np.flatnonzero(np.minimum(sizes, others) >= least * np.maximum(sizes, others))
    ends = np.cumsum((sizes + others)[hopeful])
    for chunk in np.split(hopeful, np.searchsorted(ends, np.arange(_AT_ONCE, ends[-1], _AT_ONCE))) if len(ends) else ():
        common = _common(left, one[chunk], right, other[chunk])
        index[chunk] = common / (sizes[chunk] + others[chunk] - common)
    return index


def _common(left: Sketch, one: Places, right: Sketch, other: Places) -> Array:
    keys = np.concatenate([_keyed(left, one), _keyed(right, other)])
    keys.sort()
    twice = keys[1:][keys[1:] == keys[:-1]] >> _FOLD
    common: Array = np.bincount(twice.astype(np.int64), minlength=len(one))
    return common


def _keyed(sketch: Sketch, rows: Places) -> Array:
    """The shingles of these rows, each behind its place among them."""
    sizes = sketch.sizes[rows]
    ends = np.cumsum(sizes)
    places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(sketch.starts[rows] - (ends - sizes), sizes)
    keys: Array = (np.repeat(np.arange(len(rows), dtype=np.uint64), sizes) << _FOLD) | sketch.shingles[places]
    return keys


def _buckets(rows: Places, band: Array) -> tuple[Places, Places]:
    """The texts bucket by bucket, and the bucket of each."""
    order = rows[np.argsort(band[rows], kind="stable")]
    keys = band[order]
    return order, np.cumsum(np.concatenate([[0], keys[1:] != keys[:-1]]))[: len(keys)]


def _open(rows: Places, bucket: Places, group: Places, step: int) -> tuple[Places, Places]:
    """Without the buckets that have no two texts `step` apart, and those whose texts are all in one group."""
    if len(rows) <= step:
        return rows[:0], bucket[:0]
    begins = np.flatnonzero(np.concatenate([[True], bucket[1:] != bucket[:-1]]))
    sizes = np.diff(np.append(begins, len(rows)))
    groups = group[rows]
    mixed = np.logical_or.reduceat(groups != np.repeat(groups[begins], sizes), begins)
    kept = np.repeat((sizes > step) & mixed, sizes)
    return rows[kept], bucket[kept]


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    block: list[str] = []
    length = 0
    for text in texts:
        block.append(text)
        length += len(text)
        if length >= _BLOCK:
            yield block
            block, length = [], 0
    if block:
        yield block


def _sketch(texts: Sequence[str], near: Near, bands: int, rows: int) -> Sketch:
    units, lengths = _units(texts, near)
    ends = np.cumsum(lengths)
    hashes = np.zeros(len(units) - near.size + 1, np.uint64)
    for place in range(near.size):
        hashes = hashes * _BASE + units[place : place + len(hashes)]
    hashes = (hashes ^ (hashes >> _FOLD)) * _MIX
    within = np.ones(len(units), bool)
    for back in range(1, near.size):
        within[ends - back] = False  # a shingle that begins here runs into the next text
    owner = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths - near.size + 1)
    keys = (owner << _FOLD) | (hashes[within[: len(hashes)]] >> _FOLD)
    keys.sort()
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    sizes = np.bincount((keys >> _FOLD).astype(np.int64), minlength=len(texts))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    shingles = keys.astype(np.uint32)
    mixed = (keys & _LOW) * _BASE
    sums = np.add.reduceat((mixed ^ (mixed >> _FOLD)) * _MIX, starts[:-1])
    return Sketch(starts, shingles, _bands(shingles, starts[:-1], bands, rows), sums)


def _units(texts: Sequence[str], near: Near) -> tuple[Array, Places]:
    """What shingles are made of, as numbers one after another, and how many each text has: at least `size`."""
    plain = [loose(text) for text in texts]
    if near.of == "words":
        found = [[zlib.crc32(word.encode()) for word in words(text)] for text in plain]
        found = [one + [0] * (near.size - len(one)) for one in found]
        return np.array([unit for one in found for unit in one], np.uint64), np.array([len(one) for one in found])
    plain = [text.ljust(near.size, "\0") for text in plain]
    joined = "".join(plain).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(joined, "<u4").astype(np.uint64), np.array([len(text) for text in plain])


def _bands(shingles: Array, starts: Places, bands: int, rows: int) -> Array:
    """The least value of each text under each hash, folded band by band."""
    drawn = np.frombuffer(hashlib.shake_128(b"minhash").digest(8 * bands * rows), "<u4").reshape(bands, rows, 2)
    folded = np.zeros((bands, len(starts)), np.uint64)
    values = np.empty_like(shingles)
    for band in range(bands):
        for flip, factor in drawn[band]:
            np.bitwise_xor(shingles, flip, out=values)
            np.multiply(values, factor | np.uint32(1), out=values)
            folded[band] = (folded[band] + np.minimum.reduceat(values, starts)) * _BASE
            folded[band] ^= folded[band] >> _FOLD
    return folded
