import hashlib
import os
import sqlite3
import time

import pytest

from danlu.core import digests
from danlu.core.digests import cache_dir, files_digest, folder_digests, path_digest
from danlu.core.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def age(path, seconds=60):
    """Make a file old enough to be remembered; the change time can only be waited for, so the limit is lowered."""
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(digests, "_FRESH_NS", -1)
    read = []
    monkeypatch.setattr(
        digests, "sha256_file", lambda path: read.append(path) or hashlib.sha256(path.read_bytes()).hexdigest()
    )
    return read


def test_a_file_counts_by_its_content(tmp_path):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_bytes(b"a,b\n")
    two.write_bytes(b"a,b\n")
    assert path_digest(one) == path_digest(two) == hashlib.sha256(b"a,b\n").hexdigest()


def test_one_byte_makes_another_digest(tmp_path, counted):
    file = tmp_path / "data.csv"
    file.write_bytes(b"a,b\n1,2\n")
    before = path_digest(file)
    file.write_bytes(b"a,b\n1,3\n")
    assert path_digest(file) != before


def test_an_unchanged_file_is_read_once(tmp_path, counted):
    file = tmp_path / "data.csv"
    file.write_bytes(b"x")
    assert path_digest(file) == path_digest(file)
    assert len(counted) == 1


def test_same_size_and_set_back_time_are_noticed(tmp_path, counted):
    file = tmp_path / "data.csv"
    file.write_bytes(b"old")
    age(file)
    before, seen = path_digest(file), file.stat()
    file.write_bytes(b"new")
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert path_digest(file) != before


def test_a_file_just_written_is_not_remembered(tmp_path, monkeypatch):
    file = tmp_path / "data.csv"
    file.write_bytes(b"x")
    path_digest(file)
    with sqlite3.connect(cache_dir() / "digests.db") as db:
        assert db.execute("SELECT count(*) FROM digests").fetchone() == (0,)


def test_a_folder_counts_by_names_and_contents_not_by_place(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "deep" / "words.txt").write_text("a")
    (tmp_path / "there" / ".hidden").write_text("not counted")
    assert path_digest(tmp_path / "here") == path_digest(tmp_path / "there")
    assert sorted(folder_digests(tmp_path / "here")) == ["config.json", "deep/words.txt"]
    (tmp_path / "there" / "config.json").rename(tmp_path / "there" / "other.json")
    assert path_digest(tmp_path / "here") != path_digest(tmp_path / "there")


def test_the_order_of_files_does_not_matter():
    assert files_digest({"a": "1", "b": "2"}) == files_digest({"b": "2", "a": "1"})


def test_works_where_the_cache_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "file" / "below"))
    assert path_digest(tmp_path / "file") == hashlib.sha256(b"x").hexdigest()


def test_works_where_the_cache_is_damaged(tmp_path, cache):
    cache.mkdir()
    (cache / "digests.db").write_bytes(b"this is not a database, but long enough to look like a file" * 20)
    (tmp_path / "file").write_text("x")
    assert path_digest(tmp_path / "file") == hashlib.sha256(b"x").hexdigest()


def test_a_missing_file_names_its_neighbours(tmp_path):
    (tmp_path / "reviews.csv").write_text("x")
    with pytest.raises(DataError, match=r"no such file\n.*reviews\.csv"):
        path_digest(tmp_path / "review.csv")
    with pytest.raises(DataError, match="nor its folder"):
        path_digest(tmp_path / "nowhere" / "review.csv")


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "up").symlink_to(tmp_path / "data")
    with pytest.raises(DataError, match="leads back"):
        path_digest(tmp_path / "data")


def test_a_link_to_nothing_and_a_device_are_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gone").symlink_to(tmp_path / "nothing")
    with pytest.raises(DataError, match="can't be read"):
        path_digest(tmp_path / "data")
    (tmp_path / "data" / "gone").unlink()
    (tmp_path / "data" / "zero").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        path_digest(tmp_path / "data")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "data.csv"
    file.write_text("x")

    def read_and_change(path):
        path.write_text("longer")
        return "0" * 64

    monkeypatch.setattr(digests, "sha256_file", read_and_change)
    with pytest.raises(DataError, match="changed while it was read"):
        path_digest(file)
