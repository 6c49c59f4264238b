"""Delimited text (csv, tsv and kin) as a stream of Arrow record batches of strings."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pacsv

from danlu.blocks.header import why_a_row
from danlu.blocks.textfile import Scan, scan
from danlu.core.errors import DataError
from danlu.core.printable import printable

NOTES = b"danlu.notes"
"""Key of a schema's metadata: what was guessed while reading, a note a line, to be shown to the user."""
DOUBTS = b"danlu.doubts"
"""Key of a schema's metadata: what was probably misread, one a line, with a tab and the source's option that mends it.
"""

_DELIMITERS = (",", "\t", ";", "|")
_CLOSE_IT = 'close it where its cell ends, or write a quote within a cell twice ("")'
_NO_HEADER = "; where the first line is a row, set `header: false`"
_SNIFFED_ROWS = 50
_SNIFFED_CHARACTERS = 1 << 20
_COMPARED_ROWS = 1000
_TO_CLOSING = re.compile(r'(?:[^"]++|"")*+"')
_LEAST_BLOCK = 4 << 20
_BYTES_PER_CHARACTER = 4


def read_delimited(
    path: Path,
    *,
    delimiter: str = "",
    encoding: str = "",
    header: bool = True,
    ragged: Callable[[Any], str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a file, every cell a string; an empty cell that is not quoted is null.

    The first line names the columns, unless there is no `header`: they are c1, c2, … then. A first line that was taken
    for names and looks like a row is told in the schema's metadata, under `DOUBTS`.

    Cells are not turned into numbers: `007` stays as it stands. Memory is bounded, whatever the file's size. Raises
    DataError, with the line, for everything that is wrong with the file; a row of another length than the header goes
    to `ragged`, which says "skip" or "error", when it is given; a file may then have no other rows.
    """
    refused, breaks = False, False

    def heard(row: Any) -> str:
        nonlocal refused, breaks
        refused, breaks = True, breaks or bool(re.search(r"[\r\n]", row.text or ""))
        return ragged(row) if ragged else "error"

    layout = replace(_layout(path, scan(path, encoding), delimiter, header), ragged=heard if ragged else None)
    told = {NOTES: "\n".join(layout.scan.notes), DOUBTS: layout.doubt}
    metadata = {key: text.encode() for key, text in told.items() if text}
    schema = pa.schema([(name.strip(), pa.string()) for name in layout.names], metadata=metadata or None)
    rows = 0
    for batch in _batches(path, layout):
        rows += batch.num_rows
        breaks = breaks or (layout.scan.quotes > 0 and any(_breaks(column) for column in batch.columns))
        if batch.num_rows:
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    if not rows and not refused:
        raise DataError("it has a header but no rows", where=str(path), do="add rows")
    if breaks and (fault := _unclosed(path, layout)):
        raise fault


def _breaks(column: pa.Array) -> bool:
    """Whether a cell holds several lines."""
    found = pc.any(pc.match_substring_regex(column, r"[\r\n]")).as_py()
    return bool(found)


@dataclass(frozen=True, slots=True)
class _Layout:
    scan: Scan
    delimiter: str
    names: tuple[str, ...]
    header: bool
    doubt: str
    ragged: Callable[[Any], str] | None = None


def _layout(path: Path, found: Scan, delimiter: str, header: bool) -> _Layout:
    with path.open(encoding=found.encoding, newline="") as file:
        head = file.read(_SNIFFED_CHARACTERS).removeprefix("\ufeff")
    delimiter = delimiter or _sniff_delimiter(head)
    first = _first_row(head, delimiter, path)
    if not header:
        return _Layout(found, delimiter, tuple(f"c{place}" for place in range(1, len(first) + 1)), header, "")
    _check_names([name.strip() for name in first], path)
    return _Layout(found, delimiter, first, header, _doubt(path, head, delimiter))


def _first_row(head: str, delimiter: str, path: Path) -> tuple[str, ...]:
    do = "put the names of the columns in the first line"
    lines = io.StringIO(head, newline="")
    try:
        cells = next(row for row in csv.reader(lines, delimiter=delimiter) if row)
    except csv.Error as fault:
        raise DataError(f"the header can't be read: {fault}", where=str(path), do=do) from fault
    if lines.tell() == _SNIFFED_CHARACTERS:
        raise DataError("the header is longer than a million characters", where=str(path), do=do)
    return tuple(cells)


def _doubt(path: Path, head: str, delimiter: str) -> str:
    names, *rows = _first_rows(head, delimiter, _COMPARED_ROWS)
    why = why_a_row(names, [row for row in rows if len(row) == len(names)])
    told = " ".join(
        printable(f"the first line of {path.name} looks like a row, not like names of columns: {why}").split()
    )
    return f"{told}\theader=false" if why else ""


def _first_rows(head: str, delimiter: str, most: int) -> list[list[str]]:
    """Rows that are not empty, as far as they can be read."""
    rows: list[list[str]] = []
    with suppress(csv.Error):  # a cell larger than the module's limit: what came before it is enough
        for row in islice(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), most + 1):
            rows.append(row)
    return [row for row in rows if row]


def _sniff_delimiter(head: str) -> str:
    """The delimiter that gives the most rows as many cells as the header, at least two; a comma when none does."""
    scores = {delimiter: _agreement(head, delimiter) for delimiter in _DELIMITERS}
    return max(_DELIMITERS, key=lambda delimiter: scores[delimiter])


def _agreement(head: str, delimiter: str) -> tuple[float, int]:
    rows = _first_rows(head, delimiter, _SNIFFED_ROWS)
    width = len(rows[0]) if rows else 0
    if width < 2:
        return 0.0, 0
    return sum(len(row) == width for row in rows) / len(rows), width


def _check_names(names: list[str], path: Path) -> None:
    where = f"{path}, header"
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise DataError(
            f"the column name {twice[0]!r} stands there {names.count(twice[0])} times",
            where=where,
            do=f"rename one{_NO_HEADER}",
        )
    if "" in names:
        what = f"column {names.index('') + 1} of {len(names)} has no name"
        raise DataError(what, where=where, do=f"name it, or remove the column{_NO_HEADER}")


def _batches(path: Path, layout: _Layout) -> Iterator[pa.RecordBatch]:
    options = {
        "read_options": pacsv.ReadOptions(
            encoding=layout.scan.encoding.replace("utf-8-sig", "utf-8"),
            block_size=max(_LEAST_BLOCK, 2 * _BYTES_PER_CHARACTER * layout.scan.longest_line),
            use_threads=False,
            column_names=None if layout.header else list(layout.names),
        ),
        "parse_options": pacsv.ParseOptions(
            delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=layout.ragged
        ),
        "convert_options": pacsv.ConvertOptions(
            column_types={name: pa.string() for plain in layout.names for name in (plain, f"\ufeff{plain}")},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    }
    try:
        with pacsv.open_csv(path, **options) as reader:
            yield from reader
    except pa.ArrowInvalid as fault:
        raise _explain(path, layout, str(fault)) from fault


def _explain(path: Path, layout: _Layout, said: str) -> DataError:
    if unclosed := _unclosed(path, layout):
        return unclosed
    if "straddl" in said or "too large" in said:
        what = "a row is longer than a block; is there a quote that is never closed?"
        return DataError(what, where=str(path), do=_CLOSE_IT)
    ragged = _ragged_row(path, layout)
    if ragged is None:
        return DataError(f"it can't be read: {said}", where=str(path), do="check the file in a text editor")
    line, cells = ragged
    shown, first = layout.delimiter.join(cells)[:80], "header" if layout.header else "first line"
    what = f"the row and the {first} differ in length, {len(cells)} and {len(layout.names)} cells: {shown!r}"
    do = (
        f'quote a cell that holds {layout.delimiter!r}: "a, b"' if len(cells) > len(layout.names) else "fill in the row"
    )
    return DataError(what, where=f"{path}, line {line}", do=do)


def _unclosed(path: Path, layout: _Layout) -> DataError | None:
    """What to say of the first quote that swallows lines and is not closed where a cell ends; None where none does.

    The quote that then ends the cell is the one that was to open another: what follows it is neither a delimiter nor
    the end of a line.
    """
    opening = re.compile(rf'(?:^|{re.escape(layout.delimiter)})"')
    opened, line = 0, 0
    with path.open(encoding=layout.scan.encoding, newline="") as file:
        for line, text in enumerate(file, 1):
            place = 0 if opened or '"' in text else len(text)
            while place < len(text):
                found = _TO_CLOSING.match(text, place) if opened else opening.search(text, place)
                if found is None:
                    break
                place = found.end()
                if opened and opened < line and text[place : place + 1] not in (layout.delimiter, "\r", "\n", ""):
                    what = f'a quote (") opens here and is not closed before the next one, on line {line}: the rows'
                    return DataError(
                        f"{what} between are read as one cell", where=f"{path}, line {opened}", do=_CLOSE_IT
                    )
                opened = 0 if opened else line
    if not opened:
        return None
    what = f'a quote (") opens here and is never closed: it swallows all rows up to the last line, {line}'
    return DataError(what, where=f"{path}, line {opened}", do=_CLOSE_IT)


def _ragged_row(path: Path, layout: _Layout) -> tuple[int, list[str]] | None:
    with path.open(encoding=layout.scan.encoding, newline="") as file:
        reader = csv.reader(file, delimiter=layout.delimiter)
        try:
            return next(((reader.line_num, row) for row in reader if row and len(row) != len(layout.names)), None)
        except csv.Error:
            return None


def row_lines(path: Path, *, delimiter: str = "", encoding: str = "", header: bool = True) -> Iterator[tuple[int, int]]:
    """The line that each row begins on, and how many cells it has more than the first; as `read_delimited` reads."""
    layout = _layout(path, scan(path, encoding), delimiter, header)
    with path.open(encoding=layout.scan.encoding, newline="") as file:
        reader = csv.reader(file, delimiter=layout.delimiter)
        begins = 1
        for row in reader:
            if row and not header:
                yield begins, len(row) - len(layout.names)
            header = header and not row
            begins = reader.line_num + 1
