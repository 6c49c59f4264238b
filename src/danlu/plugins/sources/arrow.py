"""Rows of Arrow files: the IPC file format, which Feather is too, and the IPC stream format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pyarrow as pa

from danlu.blocks.file_source import FileSource
from danlu.blocks.places import File
from danlu.blocks.skipping import Skipping
from danlu.blocks.typed_files import read_alike
from danlu.core.errors import DataError

_OF_FILES = b"ARROW1"
_OF_FEATHER_1 = b"FEA1"
_ROWS = 1024


class Arrow(FileSource):
    """Columns keep their types; texts of a dictionary are written out. All files must have the same columns.

    Rows are streamed. Feather of version 1, from before 2020, is refused.
    """

    endings: ClassVar[tuple[str, ...]] = (".arrow", ".feather", ".ipc", ".arrows")

    def read(self, files: Sequence[File], skipping: Skipping) -> Iterator[tuple[File, pa.RecordBatch]]:
        yield from read_alike(files, _schema, _batches, "an Arrow file")


@contextmanager
def _reader(file: File) -> Iterator[Any]:
    with pa.OSFile(str(file.path)) as stream:
        start = stream.read(len(_OF_FILES))
        stream.seek(0)
        if start.startswith(_OF_FEATHER_1):
            do = "write it anew: pyarrow.feather.write_feather(table, path)"
            raise DataError("it is a Feather file of version 1", where=file.shown, do=do)
        with (pa.ipc.open_file if start == _OF_FILES else pa.ipc.open_stream)(stream) as reader:
            yield reader


def _schema(file: File) -> pa.Schema:
    with _reader(file) as reader:
        return reader.schema


def _batches(file: File) -> Iterator[pa.RecordBatch]:
    with _reader(file) as reader:
        counted = getattr(reader, "num_record_batches", None)
        batches = reader if counted is None else (reader.get_batch(k) for k in range(counted))
        for batch in batches:
            for start in range(0, batch.num_rows, _ROWS):
                yield batch.slice(start, _ROWS)
