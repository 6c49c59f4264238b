"""Pictures that are nearly the same: difference hashes, compared with one another, then the small pictures themselves.

The hash (dHash; Krawetz, 2013) says for 8 × 8 places of a picture, shrunk and grey, whether it gets brighter to the
right: scaling, compression and a change of brightness hardly change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from danlu.blocks.clusters import Places, unite
from danlu.blocks.pixels import open_picture
from danlu.core.errors import DataError

_SIDE = 16
_BAND = 16
"""Bits of a band, which makes four of a hash."""
_PAIRS = 1 << 20
"""Pairs of hashes that are compared at once; a picture with more than so many candidates is compared with all."""
_COMPARED = 1 << 13
"""Pairs of small pictures that are compared at once."""


def look(pictures: Iterable[Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """`hashes` [n] uint64 and `small` [n, 16, 16] uint8, grey. Raises DataError for a picture that can't be read."""
    bits, small = [], []
    for number, x in enumerate(pictures, 1):
        picture = _opened(x, number).convert("L")
        steps = np.asarray(picture.resize((9, 8), Image.Resampling.BOX), np.int16)
        bits.append(np.packbits(steps[:, 1:] > steps[:, :-1]))
        small.append(np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BOX)))
    if not bits:
        return np.zeros(0, np.uint64), np.zeros((0, _SIDE, _SIDE), np.uint8)
    return np.stack(bits).view(np.uint64).ravel(), np.stack(small)


def picture_clusters(hashes: np.ndarray[Any, Any], small: np.ndarray[Any, Any], bits: int, difference: float) -> Places:
    """The cluster [n] of each picture, named by its first one.

    Two are together when at most `bits` of their 64 differ, and their small pictures by at most `difference` (of 255)
    on average.
    """
    group: Places = np.arange(len(hashes))
    for first, second in _near(hashes, bits):
        for start in range(0, len(first), _COMPARED):
            one, other = first[start : start + _COMPARED], second[start : start + _COMPARED]
            apart = group[one] != group[other]
            one, other = one[apart], other[apart]
            alike = np.abs(small[one].astype(np.int16) - small[other]).mean((1, 2)) <= difference
            group = unite(group, one[alike], other[alike])
    return group


def _near(hashes: np.ndarray[Any, Any], bits: int) -> Iterator[tuple[Places, Places]]:
    """The pairs of places whose hashes differ in at most `bits`, the lower place first; some more than once.

    Of four bands of 16 bits one differs in at most `bits // 4` (the pigeonhole principle), so a hash is compared with
    those alone that have such a band. All pairs are compared where the bands to look for outnumber the hashes.
    """
    masks = np.flatnonzero(np.bitwise_count(np.arange(1 << _BAND)) <= bits * _BAND // 64)
    pairs = _all_pairs(len(hashes)) if 8 * len(masks) >= len(hashes) else _sharing(hashes, masks)
    for one, other in pairs:
        near = (one < other) & (np.bitwise_count(hashes[one] ^ hashes[other]) <= bits)
        yield one[near], other[near]


def _all_pairs(count: int) -> Iterator[tuple[Places, Places]]:
    for start in range(0, count, max(1, _PAIRS // max(count, 1))):
        rows = np.arange(start, min(count, start + max(1, _PAIRS // count)))
        yield np.repeat(rows, count), np.tile(np.arange(count), len(rows))


def _sharing(hashes: np.ndarray[Any, Any], masks: np.ndarray[Any, Any]) -> Iterator[tuple[Places, Places]]:
    """The pairs in which a band is the other's, save for the bits of a mask."""
    for place in range(0, 64, _BAND):
        band = ((hashes >> np.uint64(place)) & np.uint64((1 << _BAND) - 1)).astype(np.int64)
        order = np.argsort(band, kind="stable")
        begins = np.searchsorted(band[order], np.arange((1 << _BAND) + 1))
        for mask in masks:
            begin, end = begins[band ^ mask], begins[(band ^ mask) + 1]
            counts = end - begin
            pieces = np.searchsorted(np.cumsum(counts), np.arange(_PAIRS, counts.sum(), _PAIRS))
            for rows in np.split(np.arange(len(band)), pieces):
                within = np.arange(counts[rows].sum()) - np.repeat(np.cumsum(counts[rows]) - counts[rows], counts[rows])
                yield np.repeat(rows, counts[rows]), order[np.repeat(begin[rows], counts[rows]) + within]


def _opened(x: Any, number: int) -> Image.Image:
    try:
        return open_picture(x)
    except DataError as error:
        raise DataError(error.what, where=f"picture {number}, {error.where}", do=error.do) from error
