"""Rows of text files: a line, a paragraph or a whole file each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar, Literal, NamedTuple

import pyarrow as pa

from danlu.blocks.file_source import ParsedSource
from danlu.blocks.one_encoding import Readable, readable
from danlu.blocks.places import File, named
from danlu.blocks.skipping import Skipping, with_notes
from danlu.blocks.textfile import scan
from danlu.core.errors import DataError

_ROWS = 1024
_LONGEST = 16 << 20  # characters of a paragraph or a file that is one row


class _Piece(NamedTuple):
    line: int
    text: str


class Text(ParsedSource):
    """A column `text`; with `label: folder` also `label`, the name of the outermost folder that a file lies in.

    White space around a row is left out, and so are rows of nothing else. Files are streamed.
    """

    endings: ClassVar[tuple[str, ...]] = (".txt", ".text", ".md")

    per: Literal["line", "paragraph", "file"] = "line"
    """What a row is; an empty line ends a paragraph."""
    label: Literal["none", "folder"] = "none"
    """Whether the folder, below `path`, in which a file lies is its label. Folders named for splits don't count."""
    encoding: str = ""
    """Such as `utf-8`, `gb18030` or `cp1252`; empty: found out, and told when it was a guess."""

    def read(self, files: Sequence[File], skipping: Skipping) -> Iterator[tuple[File, pa.RecordBatch]]:
        labels = [self._label(file) for file in files] if self.label == "folder" else []
        with readable(files, self.encoding, skipping) as found:
            scans = []
            for one in found:
                with named(one.file):
                    scans.append(scan(one.file.path, self.encoding))
            notes = [note for one in scans for note in one.notes]
            if skipping.skips:
                rows = sum(1 for one, seen in zip(found, scans, strict=True) for _ in self._pieces(one, seen.encoding))
                notes += skipping.settle(rows)
            columns = [("text", pa.string()), *([("label", pa.string())] if labels else [])]
            schema = with_notes(pa.schema(columns), notes)
            for k, (file, one) in enumerate(zip(files, found, strict=True)):
                pieces = self._pieces(one, scans[k].encoding)
                while chunk := [piece.text for piece in islice(pieces, _ROWS)]:
                    beside = [[labels[k]] * len(chunk)] if labels else []
                    yield file, pa.RecordBatch.from_arrays([pa.array(c) for c in (chunk, *beside)], schema=schema)

    def line(self, file: File, row: int, skipping: Skipping) -> str:
        with readable([file], self.encoding, Skipping(self.on_error, 1)) as (one,):
            piece = next(islice(self._pieces(one, scan(one.file.path, self.encoding).encoding), row, None))
            return f"line {one.line(piece.line)}"

    def _label(self, file: File) -> str:
        folders = file.name.split("/")[:-1]
        if self.splits():
            folders = folders[1:]
        if not folders:
            raise DataError("it lies in no label's folder", where=file.shown, do="make a folder for each label")
        return folders[0]

    def _pieces(self, one: Readable, encoding: str) -> Iterator[_Piece]:
        """Every row: the line it begins on, and its text."""
        held: list[str] = []
        begins, size = 1, 0
        with one.file.path.open(encoding=encoding) as stream:
            for number, line in enumerate(stream, 1):
                text = line.removeprefix("\ufeff") if number == 1 else line
                if held and not text.strip() and self.per == "paragraph":
                    yield _Piece(begins, "".join(held).strip())
                    held, size = [], 0
                elif text.strip() or held:
                    begins = begins if held else number
                    held.append(text)
                    size += len(text)
                if size > _LONGEST:
                    what = f"a {self.per} has more than {_LONGEST >> 20} million characters"
                    raise DataError(what, where=f"{one.file.shown}, line {begins}", do="cut it up, or `per: line`")
                if held and self.per == "line":
                    yield _Piece(number, "".join(held).strip())
                    held, size = [], 0
        if held:
            yield _Piece(begins, "".join(held).strip())
