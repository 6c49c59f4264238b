"""Rows of a JSON Lines file: one JSON object a line, as logs, labelling tools and language-model data come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pyarrow as pa

from danlu.contracts import Source
from danlu.core.digests import no_such_file
from danlu.core.errors import DataError, RecipeError
from danlu.core.settings import Files

_ROWS = 1024
_LONGEST = 16 << 20  # bytes: a longer line is no row, and would fill the memory
_WORDS: dict[type, str] = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}


class JSONL(Source):
    """A file in UTF-8; every object is a row and its keys are the columns. A key that a row lacks is missing there.

    The file is streamed, twice: once to learn the columns. A line that is no object, or whose value is of another kind
    than on the lines above, is an error that names the line. Lines of white space are passed over.
    """

    main: ClassVar[str] = "path"

    path: Files
    """The file, relative to the recipe."""

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        if split:
            raise RecipeError(f"a JSON Lines file has no split {split!r}", do="leave the split out")
        path = Path(self.path).expanduser()
        schema = _schema(path)
        for rows in _batches(path):
            yield pa.RecordBatch.from_pylist([row for _, row in rows], schema=schema)


def _schema(path: Path) -> pa.Schema:
    """The columns of all lines, in the order in which they first occur. Raises DataError."""
    if not path.is_file():
        raise DataError("it is a folder", where=str(path), do="name one file") if path.is_dir() else no_such_file(path)
    kinds: dict[str, tuple[str, int]] = {}
    schema = pa.schema([])
    for rows in _batches(path):
        for line, row in rows:
            _check_kinds(row, kinds, path, line)
        try:
            names = list(dict.fromkeys(name for _, row in rows for name in row))
            found = pa.Table.from_pylist([{name: row.get(name) for name in names} for _, row in rows]).schema
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as fault:
            what = f"its values can't be put into columns: {fault}"
            where = f"{path}, lines {rows[0][0]} to {rows[-1][0]}"
            raise DataError(what, where=where, do="write every key's values alike") from fault
    if not schema.names:
        raise DataError("the file has no rows", where=str(path), do="write one JSON object a line")
    return pa.schema([field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in schema])


def _check_kinds(row: dict[str, Any], kinds: dict[str, tuple[str, int]], path: Path, line: int) -> None:
    for name, value in row.items():
        if value is None:
            continue
        kind = _WORDS.get(type(value), "an object")
        before, first = kinds.setdefault(name, (kind, line))
        if kind != before:
            what = f"{name!r} is {kind}, on line {first} it is {before}"
            raise DataError(what, where=f"{path}, line {line}", do="write every key's values alike")


def _batches(path: Path) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    objects = _objects(path)
    while rows := list(islice(objects, _ROWS)):
        yield rows


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number, from 1, and object of every line that holds something."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST + 1), b""), 1):
            where = f"{path}, line {number}"
            if len(line) > _LONGEST:
                raise DataError(
                    f"the line has more than {_LONGEST >> 20} million bytes", where=where, do="one row a line"
                )
            if text := line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip():
                yield number, _object(text, where)


def _object(text: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_no_number)
    except UnicodeDecodeError as fault:
        raise DataError(f"it is not UTF-8: {fault.reason}", where=where, do="save the file as UTF-8") from fault
    except (ValueError, RecursionError) as fault:
        raise DataError(f"it is not JSON: {fault}", where=where, do="write one JSON object a line") from fault
    if not isinstance(row, dict) or not row:
        raise DataError(f"a line must be an object with keys, not {text[:40]!r}", where=where, do='{"text": "…"}')
    return row


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return made


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON, write null")
