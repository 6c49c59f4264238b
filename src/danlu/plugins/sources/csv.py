"""Rows of a CSV file; tab, semicolon and bar as delimiters are found out, as is the encoding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from danlu.blocks.delimited import read_delimited
from danlu.blocks.pictures import column, read_pictures
from danlu.contracts import Source
from danlu.core.digests import file_digests, files_digest
from danlu.core.errors import RecipeError
from danlu.core.settings import Files


class CSV(Source):
    """A file with a header line. Every cell is read as text, so `007` stays as it stands; an empty cell is missing.

    The file is streamed. A row with the wrong number of cells is an error that names the line, never a dropped row.
    """

    main: ClassVar[str] = "path"

    path: Files
    """The file, relative to the recipe."""
    delimiter: str = Field("", max_length=1)
    """The character between cells; empty: found out."""
    encoding: str = ""
    """Such as `utf-8`, `gb18030` or `cp1252`; empty: found out, and told when it was a guess."""
    header: bool = True
    """Whether the first line names the columns. Where it is a row, the columns are `c1`, `c2`, …"""
    pictures: tuple[str, ...] = ()
    """Columns of pictures' paths, relative to the file: the pictures are read into the rows, and noticed when they
    change."""

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        if split:
            raise RecipeError(f"a CSV file has no split {split!r}", do="leave the split out")
        for batch in self._lines():
            yield read_pictures(batch, self.pictures, self._file.parent) if self.pictures else batch

    def fingerprint(self) -> str:
        """The SHA-256 over the content of all pictures; the file itself is a setting, and fingerprinted as one."""
        if not self.pictures:
            return ""
        cells = (cell for batch in self._lines() for name in self.pictures for cell in column(batch, name).to_pylist())
        return files_digest(file_digests({cell: self._file.parent / cell for cell in cells if cell}))

    @property
    def _file(self) -> Path:
        return Path(self.path).expanduser()

    def _lines(self) -> Iterator[pa.RecordBatch]:
        return read_delimited(self._file, delimiter=self.delimiter, encoding=self.encoding, header=self.header)
