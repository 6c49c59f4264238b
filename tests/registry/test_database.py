import multiprocessing
import os
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.engine import Connection

from danlu.core.errors import MachineError
from danlu.registry import database
from danlu.registry.database import Database


@pytest.fixture
def empty(tmp_path):
    made = Database(tmp_path / "deep/store/registry.db")
    made.ensure()
    return made


def test_every_connection_is_durable_and_checks_references(empty):
    with empty.writing() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "foreign_keys")
        }
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        wait = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert (pragmas, mode, wait) == ({"synchronous": 2, "foreign_keys": 1}, "wal", 60_000)


def test_a_new_database_leaves_nothing_beside_it(empty):
    assert sorted(path.name for path in empty.path.parent.iterdir()) == ["registry.db", "registry.db.lock"]
    assert empty.rows(select(database.versions)) == []


def test_a_new_database_does_not_rest_on_a_log_that_a_full_disk_keeps_full(tmp_path, monkeypatch):
    others, real = [], sqlite3.connect

    def connect(place, **options):
        connection = real(place, **options)
        others.append(real(place, uri=True))
        others[-1].execute("PRAGMA user_version").fetchone()  # while another is open, closing empties no log
        return connection

    made = Database(tmp_path / "registry.db")
    with monkeypatch.context() as patched:
        patched.setattr(database.sqlite3, "connect", connect)
        patched.setattr(database.shutil, "rmtree", lambda *_, **__: None)
        made.ensure()
    for other in others:
        other.close()
    assert made.rows(select(database.versions)) == []


def test_a_block_that_raises_changes_nothing(empty):
    def entry_then_fault(connection):
        values = {"at": "", "actor": "", "action": "", "name": "", "alias": "", "after": 1, "why": "", "seal": ""}
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.execute(database.audit.insert().values(**values))
        raise ZeroDivisionError("division")

    with pytest.raises(ZeroDivisionError, match="division"), empty.writing() as connection:
        entry_then_fault(connection)
    assert empty.rows(select(database.audit)) == []


def test_readers_do_not_wait_for_the_writer(empty):
    with empty.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE scratch (a)")
        assert empty.rows(select(database.versions)) == []


def test_a_writer_that_waits_too_long_is_told(empty, monkeypatch):
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.1)
    impatient = Database(empty.path)
    told = pytest.raises(MachineError, match="the registry cannot be used: database is locked")
    with empty.writing(), told, impatient.writing():
        pass


def test_the_second_writer_sees_what_the_first_wrote(empty):
    """It waits before it reads, and not only before it writes."""
    seen, began = [], threading.Event()

    def second():
        began.set()
        with empty.writing() as connection:
            seen.append(connection.exec_driver_sql("SELECT max(a) FROM scratch").scalar())

    with empty.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE scratch (a)")
    with empty.writing() as connection:
        waiting = threading.Thread(target=second)
        waiting.start()
        began.wait()
        time.sleep(0.05)
        connection.exec_driver_sql("INSERT INTO scratch VALUES (7)")
    waiting.join()
    assert seen == [7]


def make(path):
    Database(path).ensure()
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (1,)


def test_many_make_the_same_database_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    makers = [context.Process(target=make, args=(tmp_path / "store/registry.db",)) for _ in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [maker.exitcode for maker in makers] == [0] * 8


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_files_are_on_the_disk_before_their_record(registry, publish, model, monkeypatch):
    """For every blob: fsync of the file, rename, fsync of its folder, and only then the commit."""
    publish("a")
    folder, seen = model("b"), []
    fsync, replace, commit = os.fsync, Path.replace, Connection._commit_impl

    def record_fsync(handle):
        seen.append(("fsync", Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    def record_replace(self, target):
        seen.append(("rename", self, Path(target)))
        return replace(self, target)

    def record_commit(self):
        seen.append(("commit",))
        commit(self)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_replace)
    monkeypatch.setattr(Connection, "_commit_impl", record_commit)
    version = registry.publish("reviews", folder, metadata={})
    (renamed,) = [event for event in seen if event[0] == "rename"]
    _, temp, blob = renamed
    assert blob == registry.blobs.path(version.files["bundle.json"].sha256)
    order = [seen.index(event) for event in (("fsync", temp), renamed, ("fsync", blob.parent), ("commit",))]
    assert order == sorted(order)
