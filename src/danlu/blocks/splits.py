"""Cut a table into train, validation and test: by what a row holds, never by where it stands.

The key of a row is a digest of its input, without case, width and spacing, so that the same text never lies in two
splits. Which split a key falls into is a pure function of the key and the seed.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.pictures import PICTURE
from danlu.blocks.tables import is_text
from danlu.core.errors import DataError, RecipeError

_DIGEST_BYTES = 16
_SHORT = 20
"""Bytes of a value that is likely to come again, with those of its place."""
_AT_ONCE = 1 << 20
"""Bytes of a table that are framed at once: so many stay in a core's cache."""


Keys: TypeAlias = np.ndarray[Any, Any]
"""The keys of rows, as numpy bytes of length 16."""
NAMES = ("train", "validation", "test")
_TRAIN, _VALIDATION, _TEST = range(3)


def split(
    table: pa.Table,
    columns: Sequence[str],
    *,
    validation: float,
    test: float,
    seed: int = 0,
    stratify: Sequence[Any] | None = None,
) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Cut into three splits: train, validation, test → row numbers; rows whose `columns` say the same stay together.

    Without `stratify` a key's place is compared with the shares alone: rows that are added later move no row that was
    there before, raising `validation` moves none out of test, and shares are met on average (with a standard deviation
    of sqrt(share (1 - share) / rows)). With `stratify`, one label a row, every label's share is met to within one key;
    the price is that rows added later can move those that stand at the edge of a share. Rows of one key with different
    labels count for the first one. Raises RecipeError for impossible shares, DataError when a split would be empty.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise RecipeError(
            f"validation {validation:g} and test {test:g} leave nothing to train on", do="use 0.1 and 0.2"
        )
    keys = key_array(table, columns)
    codes = np.unique(np.asarray(stratify), return_inverse=True)[1] if stratify is not None else None
    parts = assign(keys, validation=validation, test=test, seed=seed, codes=codes)
    rows = {name: np.flatnonzero(parts == part) for part, name in enumerate(NAMES)}
    for name, share in zip(NAMES, (1.0, validation, test), strict=True):
        if share and not len(rows[name]):
            what = f"{len(np.unique(keys)):,} different rows are too few: no row would be in {name}"
            raise DataError(what, do="give more rows, or raise its share")
    return rows


def assign(
    keys: Keys, *, validation: float, test: float, seed: int, codes: np.ndarray[Any, Any] | None = None
) -> np.ndarray[Any, np.dtype[np.int8]]:
    """The place in `NAMES` of the split of each row, as `split` says; `codes` are the rows' strata as numbers."""
    unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    places = places_of(unique, seed)
    if codes is None:
        part = np.where(places < test, _TEST, np.where(places < test + validation, _VALIDATION, _TRAIN))
    else:
        part = _by_rank(places, codes[first], validation, test)
    return part.astype(np.int8)[inverse]


def rarest(labels: Sequence[Sequence[str]]) -> list[str]:
    """The rarest label of each row that may have several, to stratify by; empty for a row without any.

    Rare labels are the ones that a cut by chance leaves out, so each row counts for its rarest one.
    """
    rows = Counter(label for one in labels for label in one)
    return [min(one, key=lambda label: (rows[label], label), default="") for one in labels]


def _by_rank(
    places: np.ndarray[Any, Any], codes: np.ndarray[Any, Any], validation: float, test: float
) -> np.ndarray[Any, Any]:
    order = np.lexsort((places, codes))
    edges = np.flatnonzero(np.diff(codes[order])) + 1
    part = np.full(len(places), _TRAIN)
    for group in np.split(order, edges):
        first, second = round(test * len(group)), round((test + validation) * len(group))
        part[group[:first]], part[group[first:second]] = _TEST, _VALIDATION
    return part


def places_of(keys: Keys, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A number in [0, 1) for each key, that only key and seed decide."""
    salt = (seed % 2**64).to_bytes(8, "little")
    whole = (key.ljust(_DIGEST_BYTES, b"\0") for key in keys.tolist())  # numpy takes zeros at the end for padding
    mixed = b"".join(blake2b(key, digest_size=8, key=b"split", salt=salt).digest() for key in whole)
    return (np.frombuffer(mixed, dtype="<u8") >> np.uint64(11)).astype(np.float64) / 2**53


def key_array(table: pa.Table, columns: Sequence[str], *, exact: bool = False) -> Keys:
    """`row_keys` as one array of 16 bytes a row, to be sorted and compared as a whole."""
    return np.frombuffer(b"".join(row_keys(table, columns, exact=exact)), dtype=f"S{_DIGEST_BYTES}")


def row_keys(table: pa.Table, columns: Sequence[str], *, exact: bool = False) -> list[bytes]:
    """A digest of 16 bytes for each row, over these columns; text without case, width (NFKC) and spacing, or `exact`.

    A picture counts by its bytes, or else its path. A missing value differs from every other value but itself.
    """
    if len(columns) == 1 and _few(column := table.column(columns[0])):
        numbered = column.combine_chunks().dictionary_encode("encode")
        different = _digests([_framed(pa.chunked_array([numbered.dictionary]), exact)])
        return [different[place] for place in numbered.indices.to_pylist()]
    size = max(1, int(_AT_ONCE / max(1, table.nbytes) * table.num_rows))
    parts = (table.slice(first, size) for first in range(0, table.num_rows, size))
    return [key for part in parts for key in _digests([_framed(part.column(name), exact) for name in columns])]


def _few(column: pa.ChunkedArray) -> bool:
    """Whether the texts are so short, as labels are, that it pays to look at each that is different once."""
    return is_text(column.type) and column.nbytes < _SHORT * len(column)


def _digests(framed: list[list[bytes]]) -> list[bytes]:
    """The digest of each row, of its framed cells."""
    rows = framed[0] if len(framed) == 1 else map(b"".join, zip(*framed, strict=True))
    return [blake2b(row, digest_size=_DIGEST_BYTES).digest() for row in rows]


def _framed(column: pa.ChunkedArray, exact: bool) -> list[bytes]:
    """The cells of a column, each with its length before it, so that no two rows of cells look alike."""
    if not (pa.types.is_integer(column.type) or (exact and is_text(column.type))):
        return [_one_framed(value) for value in _plain(column, exact)]
    content = pc.cast(pc.cast(column, pa.large_string()), pa.large_binary())
    lengths = pc.cast(pc.cast(pc.binary_length(content), pa.large_string()), pa.large_binary())
    space, there = (pa.scalar(sign, pa.large_binary()) for sign in (b" ", b"1"))
    whole = pc.binary_join_element_wise(there, lengths, content, space)
    return (pc.fill_null(whole, b"0 0 ") if whole.null_count else whole).to_pylist()  # type: ignore[no-any-return]


def _one_framed(value: Any) -> bytes:
    if value is None:
        return b"0 0 "
    content = value if isinstance(value, bytes) else str(value).encode()
    return b"1 %d %b" % (len(content), content)


def _plain(column: pa.ChunkedArray, exact: bool) -> list[Any]:
    if column.type == PICTURE:
        paths = pc.cast(pc.struct_field(column, "path"), pa.binary())
        return pc.coalesce(pc.struct_field(column, "bytes"), paths).to_pylist()  # type: ignore[no-any-return]
    values: list[Any] = column.to_pylist()
    if exact or not is_text(column.type):
        return values
    return [None if value is None else loose(value) for value in values]


def loose(text: str) -> str:
    """A text without case, width and spacing, to find those that say the same."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
