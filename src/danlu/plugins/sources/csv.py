"""Rows of a CSV file; tab, semicolon and bar as delimiters are found out, as is the encoding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from danlu.blocks.delimited import read_delimited
from danlu.contracts import Source
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

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        if split:
            raise RecipeError(f"a CSV file has no split {split!r}", do="leave the split out")
        return read_delimited(Path(self.path).expanduser(), delimiter=self.delimiter, encoding=self.encoding)
