"""A real PostgreSQL server: a server-side cursor, one snapshot while others write, types, and no writing."""

import datetime
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from danlu.core.errors import DataError
from danlu.plugins.sources.sql import SQL

psycopg = pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
ROWS = 5000


@pytest.fixture(scope="module")
def dsn():
    """The address of a server of this test's own, which is gone afterwards."""
    tools = Path(os.path.realpath(shutil.which("initdb") or "")).parent
    if not (tools / "postgres").is_file():
        pytest.skip("PostgreSQL's server (initdb, postgres) is not installed")
    as_other = {"user": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="danlu-postgresql-"))
    if as_other:
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "cwd": folder,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": {"LC_ALL": "C"},
        **as_other,
    }
    data = folder / "data"
    subprocess.run([tools / "initdb", "-D", data, "-U", "me", "-A", "trust", "-E", "UTF8"], check=True, **common)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run([tools / "pg_ctl", "-D", data, "-w", "-o", options, "start"], check=True, **common)
    yield f"127.0.0.1:{port}/postgres"
    subprocess.run([tools / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True, **common)
    shutil.rmtree(folder)


@pytest.fixture
def db(dsn):
    with psycopg.connect(f"postgresql://me@{dsn}", autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.execute("CREATE TABLE reviews (id int PRIMARY KEY, text text, label text)")
        connection.execute(f"INSERT INTO reviews SELECT n, 'text ' || n, 'old' FROM generate_series(1, {ROWS}) n")
        yield connection


def source(dsn, **options):
    return SQL(url=f"postgresql+psycopg://me@{dsn}", **options)


def test_a_table_that_changes_while_it_is_read_gives_one_state(db, dsn):
    batches = iter(source(dsn, table="reviews").rows())
    read = [next(batches)]
    db.execute("UPDATE reviews SET label = 'new'")
    db.execute("DELETE FROM reviews WHERE id > 3000")
    db.execute("INSERT INTO reviews VALUES (9999, 'late', 'new')")
    table = pa.Table.from_batches([*read, *batches])
    assert table.column("id").to_pylist() == list(range(1, ROWS + 1))
    assert set(table.column("label").to_pylist()) == {"old"}
    assert pa.Table.from_batches(source(dsn, table="reviews").rows()).num_rows == 3001


def test_nothing_can_be_written_whatever_the_query_says(db, dsn, monkeypatch):
    monkeypatch.setattr("danlu.plugins.sources.sql.check_select", lambda query: query)
    with pytest.raises(DataError, match=r"cannot execute DELETE in a read-only transaction|DECLARE"):
        list(source(dsn, query="DELETE FROM reviews RETURNING id").rows())
    db.execute("CREATE SEQUENCE counter")
    with pytest.raises(DataError, match=r"cannot execute nextval\(\) in a read-only transaction"):
        list(source(dsn, query="SELECT nextval('counter')").rows())
    assert db.execute("SELECT count(*) FROM reviews").fetchone() == (ROWS,)


def test_types(db, dsn):
    query = """SELECT 1.5::numeric AS n, ARRAY[1, 2] AS a, '{"k": "好"}'::jsonb AS j, date '2026-01-02' AS d, true AS b,
        '5bd4a6b4-0c3c-4d8f-b6a2-96b8a5b1c1ee'::uuid AS u, NULL AS nothing, '\\x00ff'::bytea AS raw ORDER BY 1"""
    table = pa.Table.from_batches(source(dsn, query=query).rows())
    assert table.to_pylist() == [
        {
            "n": 1.5,
            "a": "[1, 2]",
            "j": '{"k": "好"}',
            "d": datetime.date(2026, 1, 2),
            "b": True,
            "u": "5bd4a6b4-0c3c-4d8f-b6a2-96b8a5b1c1ee",
            "nothing": None,
            "raw": b"\x00\xff",
        }
    ]


def test_a_view_and_a_schema(db, dsn):
    db.execute(
        'CREATE SCHEMA IF NOT EXISTS "Shop"; CREATE OR REPLACE VIEW "Shop".good AS SELECT text FROM reviews LIMIT 3'
    )
    table = pa.Table.from_batches(source(dsn, table="Shop.good").rows())
    assert table.num_rows == 3
    assert b"have no order" in table.schema.metadata[b"danlu.notes"]


def test_a_large_table_is_streamed(db, dsn):
    db.execute("CREATE TABLE large AS SELECT n AS id, repeat('x', 1000) AS text FROM generate_series(1, 100000) n")
    list(source(dsn, table="reviews").rows())
    before, most, done = psutil.Process().memory_info().rss, 0, threading.Event()
    rows = 0
    for batch in source(dsn, query="SELECT * FROM large ORDER BY id").rows():
        rows += batch.num_rows
        most = max(most, psutil.Process().memory_info().rss)
    done.set()
    assert rows == 100_000
    assert most - before < 60 << 20  # bytes; the table holds 100 MB


def test_a_wrong_password_is_not_shown(dsn, monkeypatch):
    monkeypatch.setenv("PGSECRET", "s3cret")
    wrong = SQL(url=f"postgresql+psycopg://nobody:${{PGSECRET}}@{dsn}", table="reviews")
    with pytest.raises(Exception, match='role "nobody" does not exist') as fault:
        list(wrong.rows())
    assert "s3cret" not in str(fault.value)
