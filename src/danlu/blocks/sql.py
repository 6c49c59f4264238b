"""Rows of a database through SQLAlchemy: streamed, in one read-only transaction that sees one state of the tables."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy
from sqlalchemy.engine import URL, Connection

from danlu.blocks.skipping import with_notes
from danlu.core.errors import DanluError, DataError, MachineError, RecipeError

BATCH = 1024
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_KEPT = (bool, int, float, str, bytes, datetime.date, datetime.time, datetime.timedelta)


def place(url: str) -> URL:
    """The address, with `${NAME}` taken from the environment. Raises RecipeError for one that is none."""
    try:
        whole = _VARIABLE.fullmatch(url.strip())
        parsed = sqlalchemy.make_url(_variable(whole) if whole else url)
        filled: dict[str, Any] = {
            part: _VARIABLE.sub(_variable, value)
            for part in ("username", "password", "host", "database")
            if (value := getattr(parsed, part))
        }
        return parsed.set(**filled)
    except (sqlalchemy.exc.ArgumentError, ValueError) as fault:
        do = "write it as dialect://user:${PGPASSWORD}@host/database, such as sqlite:///my.db"
        raise RecipeError("the URL is no address of a database", do=do) from fault


def _variable(found: re.Match[str]) -> str:
    if found[1] not in os.environ:
        raise RecipeError(f"the environment has no variable {found[1]}", do=f"export {found[1]}=…")
    return os.environ[found[1]]


def check_no_secret(url: str) -> None:
    """Raise ValueError for a password in plain text: a recipe is kept in every manifest."""
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return  # told when it is used
    written = [
        str(parsed.password or ""),
        *(str(parsed.query[name]) for name in parsed.query if "pass" in name.lower()),
    ]
    if any(_VARIABLE.sub("", one) for one in written):
        raise ValueError("a password in a recipe would be kept in every manifest; write ${PGPASSWORD}")


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """A connection in a read-only transaction, in one snapshot where the database has them; nothing is committed.

    What goes wrong is told without the password. Raises MachineError when the database can't be reached, DataError when
    it refuses the query.
    """
    address = place(url)
    shown = address.set(query={}).render_as_string(hide_password=True)
    try:
        engine = sqlalchemy.create_engine(_read_only(address), poolclass=sqlalchemy.pool.NullPool)
    except ModuleNotFoundError as fault:
        raise MachineError(f"the driver {fault.name} is not installed", do=f"pip install {fault.name}") from fault
    except sqlalchemy.exc.ArgumentError as fault:
        raise RecipeError(f"{address.drivername} is no kind of database", do="danlu show sql") from fault
    connected = False
    try:
        with engine.connect() as connection:
            connected = True
            yield _in_snapshot(connection)
            connection.rollback()
    except DanluError:
        raise
    except sqlalchemy.exc.SQLAlchemyError as fault:
        said = str(getattr(fault, "orig", None) or fault).strip()
        said = said.replace(address.password or "\0", "***")
        kind, do = (DataError, "correct the query") if connected else (MachineError, "check address and credentials")
        raise kind(said, where=shown, do=do) from None
    finally:
        engine.dispose()


def _read_only(address: URL) -> URL:
    """SQLite makes an empty database of a file that is not there, unless it is told to read only."""
    if address.get_backend_name() != "sqlite" or not address.database or address.database == ":memory:":
        return address
    path = Path(address.database.removeprefix("file:")).expanduser()
    if not path.is_file():
        raise DataError("there is no such database", where=str(path), do="check the path, from the working folder on")
    return address.set(database=path.absolute().as_uri()).update_query_dict({"mode": "ro", "uri": "true"})


def _in_snapshot(connection: Connection) -> Connection:
    match connection.dialect.name:
        case "postgresql":
            return connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        case "mysql" | "mariadb":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            connection.rollback()
        case "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.exec_driver_sql("BEGIN")
    return connection


def table_query(connection: Connection, table: str) -> str:
    """All rows of a table (`schema.table` too), in the order of its primary key where it has one."""
    schema, _, name = table.rpartition(".")
    found = sqlalchemy.inspect(connection)
    if not found.has_table(name, schema=schema or None) and name not in found.get_view_names(schema=schema or None):
        there = ", ".join(found.get_table_names(schema=schema or None)[:20])
        raise DataError(f"there is no table {table!r}; there are: {there or 'none'}", do="change `table`")
    quote = connection.dialect.identifier_preparer.quote
    place = ".".join(quote(part) for part in (schema, name) if part)
    key = found.get_pk_constraint(name, schema=schema or None)["constrained_columns"]
    return f"SELECT * FROM {place}" + (f" ORDER BY {', '.join(map(quote, key))}" if key else "")  # noqa: S608 - quoted


def batches(connection: Connection, query: str, notes: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a query, asked twice in the same snapshot: once to learn the types of its columns, once for the rows.

    Numbers of fixed precision become doubles; lists, records and what Arrow has no type for become JSON or plain text.
    """
    schema = None
    for names, rows in _fetched(connection, query):
        _check_names(names)
        found = _inferred(names, rows)
        schema = pa.unify_schemas([schema, found], promote_options="permissive") if schema else found
    if schema is None:
        raise DataError("the query gives no rows", do="check its conditions")
    fields = [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in schema]
    schema = with_notes(pa.schema(fields), notes)
    for _, rows in _fetched(connection, query):
        columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _fetched(connection: Connection, query: str) -> Iterator[tuple[list[str], list[list[Any]]]]:
    asked = sqlalchemy.text(query.replace(":", r"\:"))  # a colon begins no parameter here
    options = {"stream_results": True, "yield_per": BATCH}
    with connection.execute(asked, execution_options=options) as result:
        names = list(result.keys())
        for rows in result.partitions(BATCH):
            yield names, [[_plain(value) for value in row] for row in rows]


def _check_names(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"the query gives two columns called {twice!r}", do="name one by AS")


def _inferred(names: list[str], rows: list[list[Any]]) -> pa.Schema:
    columns = list(zip(*rows, strict=True))
    fields = []
    for name, column in zip(names, columns, strict=True):
        try:
            fields.append((name, pa.array(column).type))
        except (pa.ArrowException, OverflowError) as fault:
            what = f"the values of the column {name!r} are not of one kind: {fault}"
            raise DataError(what, do=f"convert it in the query: CAST({name} AS TEXT)") from fault
    return pa.schema(fields)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, _KEPT):
        return value
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    if isinstance(value, list | dict | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
