"""Cut a table into train, validation and test: by what a row holds, never by where it stands.

The key of a row is a digest of its input, without case, width and spacing, so that the same text never lies in two
splits. Which split a key falls into is a pure function of the key and the seed.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.pictures import PICTURE
from danlu.blocks.tables import is_text
from danlu.core.errors import DataError, RecipeError

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Split:
    """`rows` maps train, validation and test to row numbers, ascending; `keys` are those of all rows, in row order."""

    rows: dict[str, np.ndarray[Any, np.dtype[np.int64]]]
    keys: list[bytes]


def split(
    table: pa.Table,
    columns: Sequence[str],
    *,
    validation: float,
    test: float,
    seed: int = 0,
    stratify: Sequence[Any] | None = None,
) -> Split:
    """Cut the rows into three splits; rows whose `columns` say the same stay together.

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
    keys = row_keys(table, columns)
    places = {key: _place(key, seed) for key in dict.fromkeys(keys)}
    chosen = _by_rank(keys, places, stratify, validation, test) if stratify is not None else None
    names = [chosen[key] if chosen else _by_place(places[key], validation, test) for key in keys]
    rows = {name: np.flatnonzero(np.array(names, dtype=object) == name) for name in ("train", "validation", "test")}
    for name, share in (("train", 1.0), ("validation", validation), ("test", test)):
        if share and not len(rows[name]):
            what = f"{len(places)} different rows are too few: no row would be in {name}"
            raise DataError(what, do="give more rows, or raise its share")
    return Split(rows, keys)


def rarest(labels: Sequence[Sequence[str]]) -> list[str]:
    """The rarest label of each row that may have several, to stratify by; empty for a row without any.

    Rare labels are the ones that a cut by chance leaves out, so each row counts for its rarest one.
    """
    rows = Counter(label for one in labels for label in one)
    return [min(one, key=lambda label: (rows[label], label), default="") for one in labels]


def _by_place(place: float, validation: float, test: float) -> str:
    return "test" if place < test else "validation" if place < test + validation else "train"


def _by_rank(
    keys: Sequence[bytes], places: dict[bytes, float], labels: Sequence[Any], validation: float, test: float
) -> dict[bytes, str]:
    label_of: dict[bytes, Any] = {}
    for key, label in zip(keys, labels, strict=True):
        label_of.setdefault(key, label)
    of_label: dict[Any, list[bytes]] = defaultdict(list)
    for key, label in label_of.items():
        of_label[label].append(key)
    chosen = {}
    for group in of_label.values():
        group.sort(key=lambda key: places[key])
        first, second = round(test * len(group)), round((test + validation) * len(group))
        for rank, key in enumerate(group):
            chosen[key] = "test" if rank < first else "validation" if rank < second else "train"
    return chosen


def _place(key: bytes, seed: int) -> float:
    """A number in [0, 1) that only key and seed decide."""
    mixed = blake2b(key, digest_size=8, key=b"split", salt=(seed % 2**64).to_bytes(8, "little")).digest()
    return (int.from_bytes(mixed, "little") >> 11) / 2**53


def row_keys(table: pa.Table, columns: Sequence[str], *, exact: bool = False) -> list[bytes]:
    """A digest of 16 bytes for each row, over these columns; text without case, width (NFKC) and spacing, or `exact`.

    A picture counts by its bytes, or else its path. A missing value differs from every other value but itself.
    """
    values = [_plain(table.column(name), exact) for name in columns]
    return [_digest(row) for row in zip(*values, strict=True)]


def _digest(row: Sequence[Any]) -> bytes:
    hasher = blake2b(digest_size=_DIGEST_BYTES)
    for value in row:
        content = b"" if value is None else value if isinstance(value, bytes) else str(value).encode()
        hasher.update(b"%d %d " % (value is not None, len(content)) + content)
    return hasher.digest()


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
