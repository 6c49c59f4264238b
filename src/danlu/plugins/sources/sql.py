"""Rows of a database: whatever SQLAlchemy has a driver for, such as PostgreSQL, MySQL and SQLite."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import ClassVar, Self

import pyarrow as pa
from pydantic import ConfigDict, model_validator

from danlu.blocks.select_only import check_select, is_ordered
from danlu.blocks.sql import batches, check_no_secret, place, reading, table_query
from danlu.contracts import Source
from danlu.core.errors import RecipeError


class SQL(Source):
    """Streamed by a server-side cursor, in a read-only transaction that sees one state of the tables.

    Since a database may change at any time, a step that reads it is never reused, unless `state` tells its states
    apart. Rows without an order may come in another one the next time, which is told.
    """

    model_config = ConfigDict(hide_input_in_errors=True)
    main: ClassVar[str] = "query"
    extra: ClassVar[str] = "sql"

    url: str
    """Such as `postgresql+psycopg://me:${PGPASSWORD}@host/shop`, `sqlite:///my.db` (from the working folder on) or
    `${SHOP_URL}`; `${NAME}` is taken from the environment when the rows are read, and never written down."""
    query: str = ""
    """One SELECT, or WITH … SELECT. Give it an ORDER BY."""
    table: str = ""
    """A table or a view, `name` or `schema.name`, in the place of `query`; read in the order of its primary key."""
    state: str = ""
    """A SELECT of one row that is another one when the rows are, such as `SELECT max(updated_at), count(*) FROM t`:
    while its answer stays the same, what was made of the rows is reused."""

    @model_validator(mode="after")
    def _only_reads(self) -> Self:
        if self.query and self.table:
            raise ValueError("takes `query` or `table`, one of the two")
        check_no_secret(self.url)
        try:
            for query in filter(None, (self.query, self.state)):
                check_select(query)
        except RecipeError as fault:
            raise ValueError(f"{fault.what}; {fault.do}") from fault
        return self

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        if split:
            raise RecipeError(f"a database has no split {split!r}", do="leave the split out")
        if not self.query and not self.table:
            raise RecipeError("sql needs `query` or `table`", do="danlu show sql")
        with reading(self.url) as connection:
            query = check_select(self.query) if self.query else table_query(connection, self.table)
            unordered = "the rows of the database have no order: give the query an ORDER BY, or the table a primary key"
            yield from batches(connection, query, () if is_ordered(query) else (unordered,))

    def fingerprint(self) -> str | None:
        """None, never reuse; or the answer to `state`, with the address."""
        if not self.state:
            return None
        with reading(self.url) as connection:
            told = [list(batch.to_pydict().values()) for batch in batches(connection, check_select(self.state), ())]
        address = place(self.url).render_as_string(hide_password=True)
        return hashlib.sha256(f"{address} {told}".encode()).hexdigest()

    def origin(self, row: int, split: str = "") -> str:
        """Where a row comes from: the table or query, and its number."""
        return f"{self.table or 'query'}, row {row + 1}"
