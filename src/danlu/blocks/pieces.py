"""Rows in pieces: in memory while they are few, in a file as soon as they are many."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from danlu.core.errors import DataError

MEMORY = 2**27
"""Bytes of rows that are held before they go to a file."""
PIECE = 2**24
"""Bytes that a piece read from a file should have about."""


class Pieces:
    """A table that may be larger than memory: filled by `add`, then gone through any number of times.

    While its rows fit into `memory` bytes it is one table, as if there were no pieces. Beyond, it is an Arrow stream in
    `folder`, and its pieces are those that were added.
    """

    def __init__(self, folder: Path, *, memory: int = MEMORY) -> None:
        self._folder, self._memory = folder, memory
        self._tables: list[pa.Table] = []
        self.nbytes = 0
        self._path: Path | None = None
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._schema: pa.Schema | None = None
        self.num_rows = 0

    @classmethod
    def of(cls, tables: Iterable[pa.Table], folder: Path, *, memory: int = MEMORY) -> Pieces:
        """The tables, one below the other."""
        made = cls(folder, memory=memory)
        for table in tables:
            made.add(table)
        return made

    @property
    def many(self) -> bool:
        """Whether the rows are too many to be one table in memory."""
        return self._path is not None

    @property
    def schema(self) -> pa.Schema:
        """The columns; those of no row at all are empty."""
        return self._schema if self._schema is not None else pa.schema([])

    def add(self, table: pa.Table) -> None:
        """Rows to come after those there are. Raises DataError when their columns can't be made to fit."""
        self.num_rows += table.num_rows
        self.nbytes += table.nbytes
        if self._path is None:
            self._tables.append(table)
            self._schema = pa.unify_schemas([self.schema, table.schema], promote_options="default")
            if self.nbytes > self._memory:
                self._to_file()
        else:
            self._write(table)

    def __iter__(self) -> Iterator[pa.Table]:
        if self._path is None:
            yield self.whole()
            return
        self._close()
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                yield pa.Table.from_batches([batch])
                pa.default_memory_pool().release_unused()

    def whole(self) -> pa.Table:
        """All rows as one table, whatever memory it takes."""
        tables = self._tables if self._path is None else list(self)
        if not tables:
            return self.schema.empty_table()
        if len(tables) == 1 and all(column.num_chunks == 1 for column in tables[0].columns):
            return tables[0]
        whole = pa.concat_tables(tables, promote_options="default").combine_chunks()
        if self._path is None:
            self._tables = [whole]  # not to be joined again
        return whole

    def head(self) -> pa.Table:
        """The first piece: all rows where they are few."""
        return next(iter(self), self.schema.empty_table())

    def thin(self, columns: Sequence[str]) -> pa.Table:
        """All rows as one table, in which the other columns are null where the rows are many."""
        if not self.many:
            return self.whole()
        return pa.concat_tables([_thinned(piece, columns) for piece in self])

    def remove(self) -> None:
        """Let go of the rows."""
        self._close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._tables = []

    def _to_file(self) -> None:
        self._path = self._folder / f"{uuid.uuid4().hex}.arrows"
        tables, self._tables = self._tables, []
        for table in tables:
            self._write(table)

    def _write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pa.ipc.new_stream(str(self._path), self.schema)
        try:
            fitting = pa.concat_tables([self.schema.empty_table(), table], promote_options="permissive")
            fitting = fitting.select(self.schema.names).cast(self.schema)
        except (pa.ArrowException, KeyError) as fault:
            what = f"rows {self.num_rows - table.num_rows + 1} and after have other columns or types: {fault}"
            raise DataError(what, do="give every file the same columns, and every column one type") from fault
        rows = max(1, int(PIECE / max(1, table.nbytes) * max(1, table.num_rows)))
        self._writer.write_table(fitting.combine_chunks(), max_chunksize=rows)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _thinned(piece: pa.Table, columns: Sequence[str]) -> pa.Table:
    whole = pa.array(range(piece.num_rows))  # to copy: a column as it was read holds on to all others
    kept = [
        piece.column(field.name).take(whole) if field.name in columns else pa.nulls(piece.num_rows, field.type)
        for field in piece.schema
    ]
    return pa.table(kept, schema=piece.schema)
