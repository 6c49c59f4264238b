"""What csv and tsv have in common: files with a header line, read as text, cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from danlu.blocks.delimited import read_delimited, row_lines
from danlu.blocks.file_source import ParsedSource
from danlu.blocks.one_encoding import Readable, readable
from danlu.blocks.places import File, named
from danlu.blocks.skipping import Skipping, with_notes
from danlu.blocks.textfile import scan
from danlu.core.errors import DataError


class DelimitedSource(ParsedSource):
    """Files with a header line; all must have the same one. Cells are text, an empty one is missing."""

    encoding: str = ""
    """Such as `utf-8`, `gb18030` or `cp1252`; empty: found out, and told when it was a guess."""
    header: bool = True
    """Whether the first line names the columns. Where it is a row, the columns are `c1`, `c2`, …"""

    def separator(self) -> str:
        """The character between cells; empty: found out."""
        return ""

    def read(self, files: Sequence[File], skipping: Skipping) -> Iterator[tuple[File, pa.RecordBatch]]:
        with readable(files, self.encoding, skipping) as found:
            notes = [note for one in found for note in self._notes(one, alone=len(found) == 1)]
            if skipping.skips:
                rows = sum(self._look(one, skipping) for one in found)
                notes += skipping.settle(rows)
            names: list[str] = []
            for file, one in zip(files, found, strict=True):
                for batch in self._batches(one, skipping):
                    names = names or batch.schema.names
                    _check_same(names, batch.schema.names, file)
                    told = with_notes(batch.schema, notes) if notes else batch.schema
                    yield file, batch.cast(told)

    def line(self, file: File, row: int, skipping: Skipping) -> str:
        with readable([file], self.encoding, Skipping(self.on_error, 1)) as (one,):
            kept = (number for number, excess in self._lines(one) if not excess)
            return f"line {one.line(next(islice(kept, row, None)))}"

    def _notes(self, one: Readable, *, alone: bool) -> Sequence[str]:
        """What is guessed of a file. Of one alone the reader tells it, with the rows."""
        with named(one.file):
            return () if alone else scan(one.file.path, self.encoding).notes

    def _batches(self, one: Readable, skipping: Skipping) -> Iterator[pa.RecordBatch]:
        ragged = (lambda _: "skip") if skipping.skips else None
        with named(one.file):
            yield from self._delimited(one, ragged)

    def _look(self, one: Readable, skipping: Skipping) -> int:
        """How many rows a file has, after its ragged ones were told."""
        found = 0

        def ragged(_: Any) -> str:
            nonlocal found
            found += 1
            return "skip"

        with named(one.file):
            rows: int = sum(batch.num_rows for batch in self._delimited(one, ragged))
        if found:
            for number, excess in self._lines(one):
                if excess:
                    what = f"the row has {abs(excess)} cells {'more' if excess > 0 else 'less'} than the header"
                    fault = DataError(what, where=f"{one.file.shown}, line {one.line(number)}")
                    skipping.fault(fault, (one.file.name, one.line(number)))
        return rows

    def _lines(self, one: Readable) -> Iterator[tuple[int, int]]:
        """The line that each row begins on, and how many cells more than the header it has."""
        with named(one.file):
            yield from row_lines(one.file.path, **self._reading())

    def _delimited(self, one: Readable, ragged: Callable[[Any], str] | None) -> Iterator[pa.RecordBatch]:
        return read_delimited(one.file.path, ragged=ragged, **self._reading())

    def _reading(self) -> dict[str, Any]:
        return {"delimiter": self.separator(), "encoding": self.encoding, "header": self.header}


def _check_same(first: Sequence[str], other: Sequence[str], file: File) -> None:
    if list(first) != list(other):
        what = f"its columns are {', '.join(other)}, and those of the first file {', '.join(first)}"
        raise DataError(what, where=file.shown, do="write all files with one header")
