"""What Parquet and Arrow files have in common: they bring their schema, and all must bring the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from danlu.blocks.places import File
from danlu.core.errors import DataError

_UNREADABLE = (OSError, pa.ArrowException)


def read_alike(
    files: Sequence[File],
    schema_of: Callable[[File], pa.Schema],
    batches_of: Callable[[File], Iterator[pa.RecordBatch]],
    kind: str,
) -> Iterator[tuple[File, pa.RecordBatch]]:
    """The rows of all files under one schema: texts of a dictionary written out, a library's notes left out.

    Raises DataError for a file that is not of this kind, is cut off, or has other columns than the first one.
    """
    first = _schema(files[0], schema_of, kind)
    for file in files:
        _check_same(first, _schema(file, schema_of, kind), file)
    for file in files:
        try:
            for batch in batches_of(file):
                batch.validate(full=True)
                columns = [column.cast(field.type) for column, field in zip(batch.columns, first, strict=True)]
                yield file, pa.RecordBatch.from_arrays(columns, schema=first)
        except _UNREADABLE as fault:
            raise DataError(f"it can't be read: {fault}", where=file.shown, do="get the file again, whole") from fault


def _schema(file: File, schema_of: Callable[[File], pa.Schema], kind: str) -> pa.Schema:
    try:
        schema = schema_of(file)
    except _UNREADABLE as fault:
        raise DataError(f"it is not {kind} that can be read: {fault}", where=file.shown) from fault
    twice = {name for name in schema.names if schema.names.count(name) > 1}
    if twice:
        raise DataError(f"the column {min(twice)!r} stands there twice", where=file.shown, do="rename one")
    return pa.schema([(field.name, _plain(field.type)) for field in schema])


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_same(first: pa.Schema, other: pa.Schema, file: File) -> None:
    if other.equals(first):
        return
    differ = [n for n in dict.fromkeys((*first.names, *other.names)) if _type(first, n) != _type(other, n)]
    name = differ[0] if differ else ", ".join(other.names)
    here, there = _type(other, name), _type(first, name)
    what = f"its columns are not those of the first file: {name!r} is {here}, there it is {there}"
    raise DataError(what, where=file.shown, do="write all files with one schema")


def _type(schema: pa.Schema, name: str) -> str:
    return str(schema.field(name).type) if name in schema.names else "missing"
