"""Rows that come one by one as JSON objects, as Arrow record batches under one schema.

They are read twice: once to learn the columns and to find what is wrong, once to give the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn, Protocol, TypeAlias

import pyarrow as pa

from danlu.blocks.places import File
from danlu.blocks.skipping import Skipping, with_notes
from danlu.core.errors import DataError

BATCH = 1024
LONGEST = 16 << 20
"""Bytes, or characters. A longer object is no row, and would fill the memory."""
MOST_COLUMNS = 10_000
"""Different keys of all rows. More are no columns, but values that were written as keys."""
_HELD = 1 << 27
"""Bytes of rows that are kept from the first reading to the second."""
_WORDS: dict[type, str] = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
_ALIKE = "write every key's values alike"
_AS_VALUES = 'write what differs from row to row as a value: {"user": "u17", "score": 3}'
_UNFIT = (pa.ArrowException, OverflowError, UnicodeEncodeError)

Found: TypeAlias = tuple[int, dict[str, Any] | DataError]
"""The place of a row in its file, counted from 1, and the row, or what is wrong with it."""
Objects: TypeAlias = Callable[[File], Iterator[Found]]
_Placed: TypeAlias = tuple[int, dict[str, Any]]


class Part(Protocol):
    """A part of a file: its objects one by one, or all at once where its reader can."""

    def __iter__(self) -> Iterator[Found]: ...

    def at_once(self, schema: pa.Schema) -> pa.RecordBatch | None:
        """The rows under a schema; None where they have to be taken one by one."""


@dataclass(frozen=True, slots=True)
class OneByOne:
    """Objects that are always taken one by one."""

    objects: Iterable[Found]

    def __iter__(self) -> Iterator[Found]:
        return iter(self.objects)

    def at_once(self, schema: pa.Schema) -> None:
        """Never."""


def batches(
    files: Sequence[File], parts: Callable[[File], Iterable[Part]], skipping: Skipping, unit: str = "line"
) -> Iterator[tuple[File, pa.RecordBatch]]:
    """The rows of all files; a key that a row lacks is null there, one that is null everywhere is text.

    Raises DataError for a row that is broken or of another kind than those before it, naming the `unit` it stands in,
    and when there is no row.
    """
    learnt, held = _Columns(unit), _Held()
    rows = 0
    for file in files:
        for number, part in enumerate(parts(file)):
            if (found := part.at_once(learnt.so_far)) is not None:
                held.put((file.name, number), found)
                rows += found.num_rows
                continue
            for chunk in _chunks(_sound(file, part, skipping, learnt)):
                learnt.take(file, chunk, skipping)
                rows += len(chunk)
    schema = with_notes(learnt.schema(files), skipping.settle(rows))
    for file in files:
        for number, part in enumerate(parts(file)):
            found = held.take((file.name, number), schema)
            if not skipping.skipped and (found is not None or (found := part.at_once(schema)) is not None):
                yield file, found
                continue
            for chunk in _chunks(kept(file, part, skipping)):
                yield file, _under(schema, chunk, file, unit)


class _Held:
    """Rows of the first reading that need not be read again, by file and part, as far as there is room."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], pa.RecordBatch] = {}
        self._room = _HELD

    def put(self, place: tuple[str, int], rows: pa.RecordBatch) -> None:
        if rows.nbytes <= self._room:
            self._rows[place] = rows
            self._room -= rows.nbytes

    def take(self, place: tuple[str, int], schema: pa.Schema) -> pa.RecordBatch | None:
        """Let go of some rows; they are of use where the columns are still those of then."""
        rows = self._rows.pop(place, None)
        if rows is None or not rows.schema.equals(schema):
            return None
        return rows.replace_schema_metadata(schema.metadata)


def _under(schema: pa.Schema, rows: list[_Placed], file: File, unit: str) -> pa.RecordBatch:
    try:
        return pa.RecordBatch.from_pylist([row for _, row in rows], schema=schema)
    except _UNFIT as fault:  # such as a whole number that no float is, where later rows made the column one of floats
        where = f"{file.shown}, {unit} {rows[0][0]} to {rows[-1][0]}"
        raise DataError(f"their values can't be put into columns: {fault}", where=where, do=_ALIKE) from fault


def kept(file: File, objects: Iterable[Found], skipping: Skipping) -> Iterator[_Placed]:
    """The rows of a file that were not skipped, with their places."""
    for place, row in objects:
        if isinstance(row, dict) and (file.name, place) not in skipping.skipped:
            yield place, row


def place_of(file: File, objects: Objects, skipping: Skipping, row: int) -> int:
    """The place of row `row` of a file, counted from 0, among those that are not skipped."""
    return next(islice(kept(file, objects(file), skipping), row, None))[0]


def _sound(file: File, objects: Iterable[Found], skipping: Skipping, learnt: _Columns) -> Iterator[_Placed]:
    for place, row in objects:
        if isinstance(row, dict):
            fault = learnt.odd(file, place, row)
            if fault is None:
                yield place, row
                continue
            row = fault
        skipping.fault(row, (file.name, place))


def _chunks(rows: Iterator[_Placed]) -> Iterator[list[_Placed]]:
    while chunk := list(islice(rows, BATCH)):
        yield chunk


class _Columns:
    """The columns learnt so far, in the order in which they first occur."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._kinds: dict[str, tuple[str, File, int]] = {}
        self._names = set[str]()
        self._schema = pa.schema([])

    @property
    def so_far(self) -> pa.Schema:
        """The columns of the rows taken until now."""
        return self._schema

    def odd(self, file: File, place: int, row: dict[str, Any]) -> DataError | None:
        """What is wrong with a row whose values are of another kind than in those above."""
        kinds = {name: _WORDS.get(type(value), "an object") for name, value in row.items() if value is not None}
        for name, kind in kinds.items():
            before, where, first = self._kinds.get(name, (kind, file, place))
            if kind != before:
                there = f"on {self._unit}" if where is file else f"in {where.shown} on {self._unit}"
                what = f"{name!r} is {kind}, {there} {first} it is {before}"
                return DataError(what, where=f"{file.shown}, {self._unit} {place}", do=_ALIKE)
        fresh = row.keys() - self._names
        if len(self._names) + len(fresh) > MOST_COLUMNS:
            what = (
                f"with this row there are {len(self._names) + len(fresh):,} columns, at most {MOST_COLUMNS:,} are taken"
            )
            return DataError(what, where=f"{file.shown}, {self._unit} {place}", do=_AS_VALUES)
        self._names |= fresh
        for name in kinds.keys() - self._kinds.keys():
            self._kinds[name] = (kinds[name], file, place)
        return None

    def take(self, file: File, rows: list[_Placed], skipping: Skipping) -> None:
        """Learn the types of some rows, in one go; where they don't fit, row by row, to name the one that does not."""
        try:
            self._schema = self._with([row for _, row in rows])
        except _UNFIT:
            for place, row in list(rows):
                try:
                    self._schema = self._with([row])
                except _UNFIT as fault:
                    what = f"its values can't be put into columns: {fault}"
                    where = f"{file.shown}, {self._unit} {place}"
                    skipping.fault(DataError(what, where=where, do=_ALIKE), (file.name, place))
                    rows.remove((place, row))

    def _with(self, rows: list[dict[str, Any]]) -> pa.Schema:
        names = list(dict.fromkeys(name for row in rows for name in row))
        found = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows]).schema
        if found == self._schema:
            return found
        return pa.unify_schemas([self._schema, found], promote_options="permissive")

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The columns of all rows."""
        if not self._schema.names:
            raise DataError("the file has no rows", where=files[0].shown, do="write JSON objects, each a row")
        fields = [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in self._schema]
        return pa.schema(fields)


def parse(text: str) -> Any:
    """A JSON value. Raises ValueError or RecursionError: also for a key that stands twice, and for NaN."""
    return json.loads(text, object_pairs_hook=once, parse_constant=no_number)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of pairs; raises ValueError when a key stands twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return made


def no_number(word: str) -> NoReturn:
    """Raises ValueError for NaN and infinities, which JSON has not."""
    raise ValueError(f"{word} is no number in JSON, write null")
