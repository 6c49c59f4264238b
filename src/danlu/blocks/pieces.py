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

    While its rows fit into `memory` bytes it is one table, as if there were no pieces, of as many chunks as were added:
    to join them costs the time of fresh memory. Beyond, it is an Arrow stream in `folder`, and its pieces are those
    that were added.
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
            self._tables += [pa.Table.from_batches([batch]) for batch in table.to_batches()] or [table]
            self._schema = pa.unify_schemas([self.schema, table.schema], promote_options="default")
            if self.nbytes > self._memory:
                self._to_file()
        else:
            self._write(table)

    def __iter__(self) -> Iterator[pa.Table]:
        if self._path is None:
            yield pa.concat_tables([self.schema.empty_table(), *self._tables], promote_options="default")
            return
        self._close()
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                yield pa.Table.from_batches([batch])
                pa.default_memory_pool().release_unused()

    def parts(self, size: int) -> Iterator[pa.Table]:
        """The rows as they were added, few of them together to `size` bytes about: nothing is joined that is larger."""
        some, nbytes = list[pa.Table](), 0
        for table in self._tables if self._path is None else self:
            some.append(table)
            nbytes += table.nbytes
            if nbytes >= size:
                yield self._joined(some)
                some, nbytes = [], 0
        if some or not self.num_rows:
            yield self._joined(some)

    def _joined(self, tables: list[pa.Table]) -> pa.Table:
        if len(tables) == 1 and tables[0].schema.equals(self.schema):
            return tables[0]
        return pa.concat_tables([self.schema.empty_table(), *tables], promote_options="default").combine_chunks()

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
