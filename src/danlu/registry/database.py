"""The tables of the registry, and all that is particular to SQLite.

Another database needs another `_connect`, `_TRIGGERS` and `Database.writing` (on PostgreSQL an advisory lock does what
`BEGIN IMMEDIATE` does here); nothing outside this file writes SQL of one dialect.

Every transaction has a connection of its own: nothing is left open between calls, in threads or over a fork.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Engine,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import Select

from danlu.core.errors import DataError, MachineError
from danlu.core.files import disk_faults, fsync_dir, locked, make_dirs

FORMAT: Final = 1
"""The version of the tables, kept in the database; a newer one is refused."""

WAIT_SECONDS: Final = 60
"""How long a writer waits for the other writers."""

_schema = MetaData()

versions = Table(
    "versions",
    _schema,
    Column("name", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("published", String(32), nullable=False),
    Column("metadata", Text, nullable=False),
    Column("manifests", Text, nullable=False),
    Column("seal", String(64), nullable=False),
    UniqueConstraint("name", "digest"),
    CheckConstraint("number >= 1"),
    sqlite_with_rowid=False,
)

files = Table(
    "files",
    _schema,
    Column("name", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    ForeignKeyConstraint(
        ["name", "number"], [versions.c.name, versions.c.number], deferrable=True, initially="DEFERRED"
    ),
    Index("files_by_sha256", "sha256"),
    sqlite_with_rowid=False,
)

audit = Table(
    "audit",
    _schema,
    Column("id", Integer, primary_key=True),
    Column("at", String(32), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("before", Integer),
    Column("after", Integer, nullable=False),
    Column("why", Text, nullable=False),
    Column("seal", String(64), nullable=False),
    ForeignKeyConstraint(["name", "after"], [versions.c.name, versions.c.number]),
    Index("audit_by_alias", "name", "alias", "id"),
)

# `INSERT OR REPLACE` deletes without a DELETE trigger, so an insert over what is there is refused as well. A file comes
# before its version in a transaction: once the version stands, its list of files is closed.
_INSERTS_REFUSED = {
    "versions": "SELECT 1 FROM versions WHERE name = NEW.name AND (number = NEW.number OR digest = NEW.digest)",
    "files": "SELECT 1 FROM versions WHERE name = NEW.name AND number = NEW.number",
    "audit": "SELECT 1 FROM audit WHERE id = NEW.id",
}

_TRIGGERS = [
    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} {condition} "
    f"BEGIN SELECT RAISE(ABORT, 'what is in {table} is never changed'); END"
    for table, refused in _INSERTS_REFUSED.items()
    for verb, condition in (("UPDATE", ""), ("DELETE", ""), ("INSERT", f"WHEN EXISTS ({refused})"))
]


class Database:
    """The registry's tables in one SQLite file; making the object touches nothing, the first write makes the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        """What a query finds; nothing when nothing was ever written.

        Raises `DataError` when the file is not a registry or is damaged, `MachineError` when it cannot be read.
        """
        if not self.path.exists():
            return []
        with _faults(self.path):
            try:
                return _ask(self._engine, statement)
            except OperationalError:
                log = self.path.with_name(f"{self.path.name}-wal")
                if log.exists() and log.stat().st_size:
                    raise
                # Who reads beside a log keeps an index in a file, which a full or read-only disk refuses. Where the log
                # is empty nobody writes, and the database can be read as it is.
                return _ask(_open(self.path, "?immutable=1"), statement)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that alone may write, from its first read on; committed and on disk when the block ends.

        Rolled back when the block raises. Without `BEGIN IMMEDIATE` two writers would read the same last number, and
        the second would fail after all its work instead of waiting before it. Raises as `rows`, and `MachineError`
        when the disk is full or the others do not finish within `WAIT_SECONDS`.
        """
        self.ensure()
        with _faults(self.path), self._engine.execution_options(begin="BEGIN IMMEDIATE").begin() as connection:
            yield connection

    def ensure(self) -> None:
        """Make the file with its tables unless it is there; whole or not at all, also when many come at once."""
        if not self.path.exists():
            _create(self.path)

    @cached_property
    def _engine(self) -> Engine:
        return _open(self.path)


def _open(path: Path, query: str = "") -> Engine:
    engine = _connect(path, query)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if found != FORMAT:
        what = f"it has the registry format {found}, this Danlu reads {FORMAT}"
        raise DataError(what, where=str(path), do="use the version of Danlu that wrote it, or another store")
    return engine


def _ask(engine: Engine, statement: Select[Any]) -> Sequence[Row[Any]]:
    with engine.connect() as connection:
        return connection.execute(statement).all()


def _connect(path: Path, query: str = "", pragmas: Sequence[str] = ()) -> Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path.absolute().as_uri() + query, uri=True, timeout=WAIT_SECONDS)

    def configure(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # else the driver begins transactions on its own, and never IMMEDIATE
        for pragma in ("foreign_keys = ON", "synchronous = FULL", *pragmas):
            connection.execute(f"PRAGMA {pragma}")

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


def _create(path: Path) -> None:
    workshop = path.with_name(f"{path.name}.new")  # a folder, so that a killed maker's journal goes with it
    with disk_faults(path):
        make_dirs(path.parent)
        with locked(path.with_name(f"{path.name}.lock")):
            if path.exists():
                return
            shutil.rmtree(workshop, ignore_errors=True)
            try:
                workshop.mkdir()
                with _faults(path):
                    _fill(workshop / path.name)
                (workshop / path.name).rename(path)
                fsync_dir(path.parent)
            finally:
                shutil.rmtree(workshop, ignore_errors=True)


def _fill(path: Path) -> None:
    # Without a log, so that the commit raises on a full disk. A log is moved into the file when it is closed, and what
    # does not fit then is told to nobody.
    with _connect(path).begin() as connection:
        _schema.create_all(connection)
        for statement in (*_TRIGGERS, f"PRAGMA user_version = {FORMAT}"):
            connection.exec_driver_sql(statement)
    # With a log of its own the writer does not keep readers waiting. The file itself remembers that it has one.
    with _connect(path, pragmas=["journal_mode = WAL"]).connect():
        pass


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Say whose fault a database error is: the machine's (full, locked, no rights) or the file's (damaged)."""
    try:
        yield
    except IntegrityError:
        raise
    except OperationalError as fault:
        do = "free space on its disk, check the rights of its folder, or wait for the other process that writes to it"
        raise MachineError(f"the registry cannot be used: {fault.orig}", where=str(path), do=do) from fault
    except (DatabaseError, UnicodeDecodeError) as fault:
        do = "restore registry.db from a backup; the blobs beside it hold the files of every version"
        raise DataError(f"the registry is damaged: {getattr(fault, 'orig', fault)}", where=str(path), do=do) from fault
