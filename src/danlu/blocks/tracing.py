"""Where a row of a data set came from, what was done to it, and where it is now."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from danlu.blocks.dataset import SPLITS, DataSet
from danlu.blocks.journal import ROW, entries
from danlu.blocks.sifting import FROZEN_FIRST
from danlu.blocks.tables import shown
from danlu.contracts import Source
from danlu.core.errors import DanluError, DataError


@dataclass(frozen=True, slots=True)
class Trace:
    """The way of one row; rows count from 1 here, as a person counts."""

    row: int
    origin: str
    """Where the source has it."""
    steps: list[Mapping[str, Any]]
    """What operators did to it: `step`, `what` (dropped, changed, copied), `why`."""
    places: list[dict[str, Any]]
    """Where it is in the data set: `split`, `place` in it (from 1), and its `values`; several where it was copied."""


def trace(data: DataSet, row: int, source: Source | None = None) -> Trace:
    """Follow row number `row` (from 1) of the source through a data set.

    Raises DataError for a row that the source never gave, and for a data set made before rows were numbered.
    """
    sizes: Mapping[str, int] | None = data.info.get("sizes")
    if sizes is None:
        raise DataError("its rows have no numbers", where=str(data.folder), do="run the prepare step again")
    total = sum(sizes.values())
    if not 1 <= row <= total:
        raise DataError(f"there is no row {row}", where=str(data.folder), do=f"name one from 1 to {total:,}")
    places = [place for split in SPLITS for place in _places(data, split, row - 1)]
    return Trace(row, origin(sizes, row - 1, source), [*entries(data.folder, row - 1)], places)


def source_row(data: DataSet, split: str, place: int) -> int:
    """The number (from 1) in the source of a row of a split, which is named by its place in it (from 1)."""
    table = data.numbered(split)
    if not 1 <= place <= table.num_rows:
        what = f"there is no row {place} in {split}"
        raise DataError(what, where=str(data.folder), do=f"name one from 1 to {table.num_rows:,}")
    return int(table.column(ROW)[place - 1].as_py()) + 1


def _places(data: DataSet, split: str, number: int) -> list[dict[str, Any]]:
    table = data.numbered(split)
    found = np.flatnonzero(table.column(ROW).to_numpy() == number)
    rows = table.drop_columns([ROW]).take(found).to_pylist()
    return [
        {"split": split, "place": int(place) + 1, "values": {name: shown(value) for name, value in row.items()}}
        for place, row in zip(found, rows, strict=True)
    ]


def origin(sizes: Mapping[str, int], number: int, source: Source | None) -> str:
    """Where the row with this number (from 0) stands in the source, of which each split gave so many rows."""
    for split in (name for name in ("", *FROZEN_FIRST) if name in sizes):
        if number < sizes[split]:
            where = f"row {number + 1}" + (f" of the source's {split} split" if split else "")
            if source is not None:
                with suppress(DanluError, OSError):  # the file may be gone; the number still says which row it was
                    where = source.origin(number, split)
            return where
        number -= sizes[split]
    raise AssertionError("the sizes were looked at before")


def opened(folder: Path) -> DataSet:
    """The data set in a folder that an artifact of another kind may be."""
    if not (folder / "dataset.json").is_file():
        raise DataError("this is not a data set", where=str(folder), do="name one that a prepare step made")
    return DataSet.open(folder)
