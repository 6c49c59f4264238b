import gzip
import os
import tracemalloc
import zipfile

import pytest

from danlu.blocks import places
from danlu.blocks.unpack import Limits
from danlu.core.errors import DataError

LIMITS = Limits(10**9, 250)


@pytest.fixture
def folder(tmp_path):
    """A folder of files, beside one that is none of its business."""
    (tmp_path / "secret.csv").write_text("a\nsecret\n")
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    for name in ("b.csv", "a.csv", "sub/c.csv.gz", "notes.txt", ".hidden.csv"):
        (root / name).write_bytes(gzip.compress(b"a\n1\n") if name.endswith(".gz") else b"a\n1\n")
    return root


def names(place, endings=(".csv",)):
    return [file.name for file in places.find(str(place), endings)]


def test_a_file_a_folder_and_a_pattern(folder):
    assert names(folder / "b.csv") == ["b.csv"]
    assert names(folder) == ["a.csv", "b.csv", "sub/c.csv.gz"]
    assert names(folder / "*.csv") == ["a.csv", "b.csv"]
    assert names(folder / "**" / "*.csv*") == ["a.csv", "b.csv", "sub/c.csv.gz"]


def test_a_file_whose_name_looks_like_a_pattern(folder):
    (folder / "a[1].csv").write_text("a\n1\n")
    assert names(folder / "a[1].csv") == ["a[1].csv"]


def test_files_are_unpacked_while_they_are_read_and_gone_afterwards(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    with places.opened(str(folder), [".csv"], LIMITS) as files:
        assert [file.path.read_text() for file in files] == ["a\n1\n"] * 3
        assert files[2].shown == str(folder / "sub" / "c.csv.gz")
    assert list((tmp_path / "cache" / "reading").iterdir()) == []


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("nothing.csv", "there is no such file"),
        ("sub/*.json", "no file matches the pattern"),
        ("no/*.csv", "there is no such file"),
        ("*/../../secret.csv", r"must not climb out of its folder by `\.\.`"),
        ("*.csv/../../s*", "must not climb out"),
    ],
)
def test_a_path_that_names_nothing_or_too_much(folder, place, told):
    with pytest.raises(DataError, match=told):
        names(folder / place)


def test_a_folder_without_such_files(folder):
    with pytest.raises(DataError, match=r"there is no \.jsonl file in the folder"):
        names(folder, (".jsonl",))


@pytest.mark.parametrize("place", ["", "*.csv"])
@pytest.mark.parametrize("target", ["../secret.csv", "/dev/zero", "/dev/stdin"])
def test_a_link_out_of_the_folder_is_refused(folder, place, target):
    (folder / "link.csv").symlink_to(target)
    with pytest.raises(DataError, match=r"'link\.csv' leads out of the folder, to /"):
        names(folder / place if place else folder)


def test_a_linked_folder_is_refused_too_and_one_within_is_not(folder):
    (folder / "within").symlink_to("sub")
    assert names(folder) == ["a.csv", "b.csv", "sub/c.csv.gz", "within/c.csv.gz"]
    (folder / "out").symlink_to("..")
    with pytest.raises(DataError, match=r"a link leads back to a folder above it|leads out of the folder"):
        names(folder)


def test_devices_and_pipes_are_refused_at_once(folder):
    with pytest.raises(DataError, match=r"/dev/zero: it is neither a file nor a folder"):
        names("/dev/zero")
    (folder / "zero").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="it is neither a file nor a folder"):
        names(folder / "zero")
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(DataError, match="it is neither a file nor a folder"):
        names(folder)


def test_an_archive_is_refused_in_words(folder):
    with zipfile.ZipFile(folder / "rows.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", bytes(1 << 20))
    for name in ("rows.zip", "rows.tar.gz"):
        (folder / name).touch()
        with (
            pytest.raises(DataError, match=r"it is an archive\n.*unpack it"),
            places.opened(str(folder / name), [".csv"], LIMITS),
        ):
            pass


def test_a_pattern_is_known_again_by_the_content_of_what_matches(folder):
    pattern = str(folder / "*.csv")
    before = places.fingerprint(pattern)
    assert places.fingerprint(pattern) == before != ""
    (folder / "b.csv").write_text("a\n2\n")
    assert places.fingerprint(pattern) != before
    assert places.fingerprint(str(folder / "b.csv")) == ""


def test_unpacking_takes_little_memory(tmp_path):
    (tmp_path / "zeros.csv.gz").write_bytes(gzip.compress(bytes(60 << 20)))
    tracemalloc.start()
    with places.opened(str(tmp_path / "zeros.csv.gz"), [".csv"], LIMITS) as (file,):
        assert file.path.stat().st_size == 60 << 20
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
