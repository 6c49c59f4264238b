"""Rows of Parquet files: one file, or a folder of them, as data sets are kept on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from danlu.contracts import Source
from danlu.core.digests import no_such_file
from danlu.core.errors import DataError, RecipeError
from danlu.core.settings import Files

_ROWS = 1024
_SPLIT = re.compile(r"(train|validation|test)(?![A-Za-z0-9])")


class Parquet(Source):
    """Columns keep their types; texts of a dictionary are written out. All files must have the same columns.

    In a folder, files are read in the order of their names, those of folders in it too. When every file or its folder
    is named `train…`, `validation…` or `test…`, as in `train-00000-of-00002.parquet`, these are the splits. Rows are
    streamed.
    """

    main: ClassVar[str] = "path"

    path: Files
    """The file or the folder, relative to the recipe."""

    def splits(self) -> tuple[str, ...]:
        named = {_split_of(name) for name in self._files()} if Path(self.path).expanduser().is_dir() else {""}
        return () if "" in named else tuple(sorted(named))

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        have = self.splits() if split else ()
        if split and split not in have:
            what = f"there is no split {split!r} in {self.path}; there are: {', '.join(have) or 'none'}"
            raise RecipeError(what, do="leave the split out")
        files = self._files()
        first = _schema(next(iter(files.values())))
        for name, path in files.items():
            if not split or _split_of(name) == split:
                _check_same(first, _schema(path), path)
                yield from _read(path, first)

    def _files(self) -> dict[str, Path]:
        """Relative name → file, in the order of names. Raises DataError when there is none."""
        place = Path(self.path).expanduser()
        if place.is_file():
            return {place.name: place}
        if not place.is_dir():
            raise no_such_file(place)
        found = {path.relative_to(place).as_posix(): path for path in place.rglob("*.parquet") if path.is_file()}
        shown = {name: found[name] for name in sorted(found) if not any(p.startswith(".") for p in name.split("/"))}
        if not shown:
            raise DataError("there is no .parquet file in the folder", where=str(place), do="check the path")
        return shown


def _split_of(name: str) -> str:
    """The split that a file, or a folder it lies in, is named for; empty where there is none."""
    return next((found[1] for part in name.split("/") if (found := _SPLIT.match(part))), "")


def _schema(path: Path) -> pa.Schema:
    """The columns of a file, without what a library noted there and with texts written out."""
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as fault:
        raise DataError(f"it is not a Parquet file that can be read: {fault}", where=str(path)) from fault
    twice = {name for name in schema.names if schema.names.count(name) > 1}
    if twice:
        raise DataError(f"the column {min(twice)!r} stands there twice", where=str(path), do="rename one")
    return pa.schema([(field.name, _plain(field.type)) for field in schema])


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_same(first: pa.Schema, other: pa.Schema, path: Path) -> None:
    if other.equals(first):
        return
    differ = [n for n in dict.fromkeys((*first.names, *other.names)) if _type(first, n) != _type(other, n)]
    name = differ[0] if differ else ", ".join(other.names)
    here, there = _type(other, name), _type(first, name)
    what = f"its columns are not those of the first file: {name!r} is {here}, there it is {there}"
    raise DataError(what, where=str(path), do="write all files with one schema")


def _type(schema: pa.Schema, name: str) -> str:
    return str(schema.field(name).type) if name in schema.names else "missing"


def _read(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
    except (OSError, pa.ArrowException) as fault:
        raise DataError(f"it can't be read: {fault}", where=str(path), do="get the file again, whole") from fault
