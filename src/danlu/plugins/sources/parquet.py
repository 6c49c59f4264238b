"""Rows of Parquet files: one file, or a folder of them, as data sets are kept on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from danlu.blocks.file_source import FileSource
from danlu.blocks.places import File
from danlu.blocks.skipping import Skipping
from danlu.blocks.typed_files import read_alike

_ROWS = 1024


class Parquet(FileSource):
    """Columns keep their types; texts of a dictionary are written out. All files must have the same columns.

    When every file or its folder is named `train…`, `validation…` or `test…`, as in `train-00000-of-00002.parquet`,
    these are the splits. Rows are streamed.
    """

    endings: ClassVar[tuple[str, ...]] = (".parquet",)

    def read(self, files: Sequence[File], skipping: Skipping) -> Iterator[tuple[File, pa.RecordBatch]]:
        yield from read_alike(files, lambda file: pq.read_schema(file.path), _batches, "a Parquet file")


def _batches(file: File) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file.path) as opened:
        yield from opened.iter_batches(batch_size=_ROWS)
