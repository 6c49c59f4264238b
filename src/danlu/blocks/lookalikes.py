"""Pictures that are nearly the same: difference hashes, compared with one another, then the small pictures themselves.

The hash (dHash; Krawetz, 2013) says for 8 × 8 places of a picture, shrunk and grey, whether it gets brighter to the
right: scaling, compression and a change of brightness hardly change it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from danlu.blocks.clusters import Places, unite
from danlu.blocks.pixels import open_picture
from danlu.core.errors import DataError

_SIDE = 16
_ROWS = 512
"""Pictures that are compared with all later ones at once."""


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
    on average. Every pair is compared: 100,000 pictures are 5·10⁹ pairs.
    """
    group: Places = np.arange(len(hashes))
    for start in range(0, len(hashes), _ROWS):
        rows = hashes[start : start + _ROWS, None]
        one, other = np.nonzero(np.bitwise_count(rows ^ hashes[None, start:]) <= bits)
        pair = one < other
        one, other = one[pair] + start, other[pair] + start
        apart = np.array([_difference(small[a], small[b]) for a, b in zip(one, other, strict=True)])
        group = unite(group, one[apart <= difference], other[apart <= difference]) if len(apart) else group
    return group


def _opened(x: Any, number: int) -> Image.Image:
    try:
        return open_picture(x)
    except DataError as error:
        raise DataError(error.what, where=f"picture {number}, {error.where}", do=error.do) from error


def _difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())
