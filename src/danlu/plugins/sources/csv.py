"""Rows of CSV files; tab, semicolon and bar as delimiters are found out, as is the encoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from danlu.blocks.delimited_source import DelimitedSource
from danlu.blocks.pictures import column, picture_path, read_pictures
from danlu.blocks.places import File
from danlu.blocks.skipping import Skipping
from danlu.core.digests import file_digests, files_digest


class CSV(DelimitedSource):
    """Files with a header line. Every cell is read as text, so `007` stays as it stands; an empty cell is missing.

    Files are streamed. A row with the wrong number of cells is an error that names the line, never dropped uncounted.
    """

    endings: ClassVar[tuple[str, ...]] = (".csv",)

    delimiter: str = Field("", max_length=1)
    """The character between cells; empty: found out."""
    pictures: tuple[str, ...] = ()
    """Columns of pictures' paths, relative to the file: the pictures are read into the rows, and noticed when they
    change. They lie in the file's folder or below it."""

    def separator(self) -> str:
        return self.delimiter

    def read(self, files: Sequence[File], skipping: Skipping) -> Iterator[tuple[File, pa.RecordBatch]]:
        for file, batch in super().read(files, skipping):
            yield file, read_pictures(batch, self.pictures, _folder(file)) if self.pictures else batch

    def fingerprint(self) -> str | None:
        """The SHA-256 over the content of all pictures, with what `path` does not tell by itself."""
        files = super().fingerprint()
        if not self.pictures:
            return files
        with self._opened("") as opened:
            rows = super().read(opened, self.skipping())
            found = {
                cell: picture_path(_folder(file), cell)
                for file, batch in rows
                for name in self.pictures
                for cell in column(batch, name).to_pylist()
                if cell
            }
            return f"{files}{files_digest(file_digests(found))}"


def _folder(file: File) -> Path:
    return Path(file.shown).parent
