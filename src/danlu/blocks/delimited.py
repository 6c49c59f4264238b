"""Delimited text (csv, tsv and kin) as a stream of Arrow record batches of strings."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv as pacsv

from danlu.blocks.textfile import Scan, scan
from danlu.core.errors import DataError

NOTES = b"danlu.notes"
"""Key of a schema's metadata: what was guessed while reading, a note a line, to be shown to the user."""

_DELIMITERS = (",", "\t", ";", "|")
_SNIFFED_ROWS = 50
_SNIFFED_CHARACTERS = 1 << 20
_LEAST_BLOCK = 4 << 20
_BYTES_PER_CHARACTER = 4


def read_delimited(
    path: Path, *, delimiter: str = "", encoding: str = "", ragged: Callable[[Any], str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a file with a header, every cell a string; an empty cell that is not quoted is null.

    Cells are not turned into numbers: `007` stays as it stands. Memory is bounded, whatever the file's size. Raises
    DataError, with the line, for everything that is wrong with the file; a row of another length than the header goes
    to `ragged`, which says "skip" or "error", when it is given.
    """
    layout = replace(_layout(path, scan(path, encoding), delimiter), ragged=ragged)
    metadata = {NOTES: "\n".join(layout.scan.notes).encode()} if layout.scan.notes else None
    schema = pa.schema([(name.strip(), pa.string()) for name in layout.names], metadata=metadata)
    rows, last = 0, None
    for batch in _batches(path, layout):
        if batch.num_rows:
            rows, last = rows + batch.num_rows, batch
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    if last is None:
        raise DataError("it has a header but no rows", where=str(path), do="add rows")
    if layout.scan.quotes % 2 and any(
        "\n" in (cell.as_py() or "") for cell in last.slice(last.num_rows - 1).columns[-1]
    ):
        what = f'the last row, {rows}, holds a quote (") that is never closed, and what follows it'
        raise DataError(what, where=str(path), do='write a quote within a cell twice (""), and quote the cell')


@dataclass(frozen=True, slots=True)
class _Layout:
    scan: Scan
    delimiter: str
    names: tuple[str, ...]
    ragged: Callable[[Any], str] | None = None


def _layout(path: Path, found: Scan, delimiter: str) -> _Layout:
    with path.open(encoding=found.encoding, newline="") as file:
        head = file.read(_SNIFFED_CHARACTERS).removeprefix("\ufeff")
    delimiter = delimiter or _sniff_delimiter(head)
    names = _header(head, delimiter, path)
    _check_names([name.strip() for name in names], path)
    return _Layout(found, delimiter, names)


def _header(head: str, delimiter: str, path: Path) -> tuple[str, ...]:
    do = "put the names of the columns in the first line"
    lines = io.StringIO(head, newline="")
    try:
        names = next(row for row in csv.reader(lines, delimiter=delimiter) if row)
    except csv.Error as fault:
        raise DataError(f"the header can't be read: {fault}", where=str(path), do=do) from fault
    if lines.tell() == _SNIFFED_CHARACTERS:
        raise DataError("the header is longer than a million characters", where=str(path), do=do)
    return tuple(names)


def _sniff_delimiter(head: str) -> str:
    """The delimiter that gives the most rows as many cells as the header, at least two; a comma when none does."""
    scores = {delimiter: _agreement(head, delimiter) for delimiter in _DELIMITERS}
    return max(_DELIMITERS, key=lambda delimiter: scores[delimiter])


def _agreement(head: str, delimiter: str) -> tuple[float, int]:
    rows: list[list[str]] = []
    with suppress(csv.Error):  # a cell larger than the module's limit: what came before it is enough
        for row in islice(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), _SNIFFED_ROWS + 1):
            rows.append(row)
    rows = [row for row in rows if row]
    width = len(rows[0]) if rows else 0
    if width < 2:
        return 0.0, 0
    return sum(len(row) == width for row in rows) / len(rows), width


def _check_names(names: list[str], path: Path) -> None:
    where = f"{path}, header"
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise DataError(
            f"the column name {twice[0]!r} stands there {names.count(twice[0])} times", where=where, do="rename one"
        )
    if "" in names:
        what = f"column {names.index('') + 1} of {len(names)} has no name"
        raise DataError(what, where=where, do="name it, or remove the column")


def _batches(path: Path, layout: _Layout) -> Iterator[pa.RecordBatch]:
    options = {
        "read_options": pacsv.ReadOptions(
            encoding=layout.scan.encoding.replace("utf-8-sig", "utf-8"),
            block_size=max(_LEAST_BLOCK, 2 * _BYTES_PER_CHARACTER * layout.scan.longest_line),
            use_threads=False,
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
    if "straddl" in said or "too large" in said:
        what = "a row is longer than a block; is there a quote that is never closed?"
        return DataError(what, where=str(path), do='write a quote within a cell twice (""), and quote the cell')
    ragged = _ragged_row(path, layout)
    if ragged is None:
        return DataError(f"it can't be read: {said}", where=str(path), do="check the file in a text editor")
    line, cells = ragged
    shown = layout.delimiter.join(cells)[:80]
    what = f"the row and the header differ in length, {len(cells)} and {len(layout.names)} cells: {shown!r}"
    do = (
        f'quote a cell that holds {layout.delimiter!r}: "a, b"' if len(cells) > len(layout.names) else "fill in the row"
    )
    return DataError(what, where=f"{path}, line {line}", do=do)


def _ragged_row(path: Path, layout: _Layout) -> tuple[int, list[str]] | None:
    with path.open(encoding=layout.scan.encoding, newline="") as file:
        reader = csv.reader(file, delimiter=layout.delimiter)
        try:
            return next(((reader.line_num, row) for row in reader if row and len(row) != len(layout.names)), None)
        except csv.Error:
            return None


def row_lines(path: Path, *, delimiter: str = "", encoding: str = "") -> Iterator[tuple[int, int]]:
    """The line that each row begins on, and how many cells it has more than the header; as `read_delimited` reads."""
    layout = _layout(path, scan(path, encoding), delimiter)
    with path.open(encoding=layout.scan.encoding, newline="") as file:
        reader = csv.reader(file, delimiter=layout.delimiter)
        header, begins = True, 1
        for row in reader:
            if row and not header:
                yield begins, len(row) - len(layout.names)
            header = header and not row
            begins = reader.line_num + 1
