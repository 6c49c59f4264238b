"""The objects of a JSON Lines file, line by line; or many lines at once by Arrow, where it would take them alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from danlu.blocks.objects import LONGEST, Found, parse
from danlu.blocks.places import File
from danlu.core.errors import DataError

FIRST, PART = 1 << 16, 1 << 22
"""Bytes that are parsed at once, as soon as the columns of the first ones are known."""
_MARK = b"\xef\xbb\xbf"
_SHORTEST = len(b'{"":1}')
_EXACT = 2.0**53
"""Beyond it not every whole number is a float."""
_FLAT = (pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.null())


@dataclass(frozen=True, slots=True)
class Lines:
    """Some whole lines of a file, and the number of the first of them."""

    raw: bytes
    number: int
    shown: str
    """The file's name."""

    def __iter__(self) -> Iterator[Found]:
        for number, line in enumerate(self.raw.split(b"\n"), self.number):
            where = f"{self.shown}, line {number}"
            if len(line) > LONGEST:
                what = f"the line has more than {LONGEST >> 20} million bytes"
                yield number, DataError(what, where=where, do="one row a line")
            elif text := line.removeprefix(_MARK if number == 1 else b"").strip():
                yield number, _object(text, where)

    def at_once(self, schema: pa.Schema) -> pa.RecordBatch | None:
        """The rows under a schema; None where a line is not what it says, or where only `__iter__` would say so."""
        if not schema.names or any(kind not in _FLAT for kind in schema.types):
            return None
        rows = _objects_in(self.raw)
        if rows is None:
            return None
        how = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
        try:
            table = arrow_json.read_json(pa.BufferReader(self.raw), parse_options=how)
            table.validate(full=True)
        except pa.ArrowException:
            return None
        if table.num_rows != rows or not all(map(_exact, table.columns)):
            return None
        return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=schema)


def read_lines(file: File) -> Iterator[Found]:
    """Every line that holds something: its number, and its object or what is wrong with it."""
    return chain.from_iterable(read_parts(file))


def read_parts(file: File) -> Iterator[Lines]:
    """The lines of a file, some at a time: few at first, from which the columns are learnt."""
    with file.path.open("rb") as stream:
        number, size = 1, FIRST
        while raw := stream.read(size):
            if not raw.endswith(b"\n"):
                raw += stream.readline(LONGEST + 1)
            yield Lines(raw, number, file.shown)
            number, size = number + raw.count(b"\n"), PART
            if len(raw) - raw.rfind(b"\n") > LONGEST + 1:
                while (line := stream.readline(LONGEST)) and not line.endswith(b"\n"):
                    pass
                number += 1


def _objects_in(raw: bytes) -> int | None:
    """How many objects there are, one a line; None where a line is anything else, or an object without a key."""
    signs = np.frombuffer(raw if raw.endswith(b"\n") else raw + b"\n", np.uint8)
    ends = np.flatnonzero(signs == ord("\n"))
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends - starts
    if lengths.min(initial=_SHORTEST) >= _SHORTEST and lengths.max(initial=0) <= LONGEST:
        plain = (signs[starts] == ord("{")) & (signs[starts + 1] == ord('"')) & (signs[ends - 1] == ord("}"))
        if plain.all():
            return len(starts)
    lines = [line for line in map(bytes.strip, raw.split(b"\n")) if line]
    return len(lines) if all(map(_like_an_object, lines)) else None


def _like_an_object(line: bytes) -> bool:
    return LONGEST >= len(line) > 1 and line[:1] == b"{" and line[-1:] == b"}" and bool(line[1:-1].strip())


def _object(text: bytes, where: str) -> dict[str, Any] | DataError:
    try:
        row = parse(text.decode("utf-8"))
    except UnicodeDecodeError as fault:
        return DataError(f"it is not UTF-8: {fault.reason}", where=where, do="save the file as UTF-8")
    except (ValueError, RecursionError) as fault:
        return DataError(f"it is not JSON: {fault}", where=where, do="write one JSON object a line")
    if not isinstance(row, dict) or not row:
        return DataError(f"a line must be an object with keys, not {text[:40]!r}", where=where, do='{"text": "…"}')
    return row


def _exact(column: pa.ChunkedArray) -> bool:
    """Whether Arrow read numbers that JSON has, each as it is written."""
    return not pa.types.is_floating(column.type) or bool(pc.all(pc.less(pc.abs(column), _EXACT), min_count=0).as_py())
