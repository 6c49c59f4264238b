"""Rows of JSON Lines files: one JSON object a line, as logs, labelling tools and language-model data come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import pyarrow as pa

from danlu.blocks.file_source import ParsedSource
from danlu.blocks.json_lines import read_lines, read_parts
from danlu.blocks.objects import batches, place_of
from danlu.blocks.places import File
from danlu.blocks.skipping import Skipping


class JSONL(ParsedSource):
    """Files in UTF-8; every object is a row and its keys are the columns. A key that a row lacks is missing there.

    Files are streamed, twice: once to learn the columns. A line that is no object, or whose value is of another kind
    than on the lines above, is an error that names the line. Lines of white space are passed over.
    """

    endings: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    def read(self, files: Sequence[File], skipping: Skipping) -> Iterator[tuple[File, pa.RecordBatch]]:
        yield from batches(files, read_parts, skipping)

    def line(self, file: File, row: int, skipping: Skipping) -> str:
        return f"line {place_of(file, read_lines, skipping, row)}"
