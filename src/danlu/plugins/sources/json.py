"""Rows of JSON files: an array of objects, or one object of columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import pyarrow as pa

from danlu.blocks.file_source import ParsedSource
from danlu.blocks.json_array import read_array
from danlu.blocks.objects import OneByOne, batches, place_of
from danlu.blocks.places import File
from danlu.blocks.skipping import Skipping


class JSON(ParsedSource):
    """Files in UTF-8. `[{"text": "…"}, …]` is streamed, each object a row; `{"text": ["…"], …}` is held in memory.

    Rows that lie deeper (`{"data": [{…}]}`) are refused, in words. Keys and values are taken as by `jsonl`.
    """

    endings: ClassVar[tuple[str, ...]] = (".json",)

    def read(self, files: Sequence[File], skipping: Skipping) -> Iterator[tuple[File, pa.RecordBatch]]:
        yield from batches(files, lambda file: [OneByOne(read_array(file))], skipping, "item")

    def line(self, file: File, row: int, skipping: Skipping) -> str:
        return f"item {place_of(file, read_array, skipping, row)}"
