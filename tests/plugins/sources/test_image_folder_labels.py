"""A CSV of labels beside pictures, and pictures that lie about themselves."""

import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest

from danlu.blocks.pixels import encode_picture
from danlu.core.errors import DataError
from danlu.plugins.sources.image_folder import ImageFolder

PNG = encode_picture(np.zeros((4, 4), np.uint8))


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def lying(width, height):
    """A PNG whose header says this size, over the pixels of a picture of 4 × 4."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(20)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    (root / "deep").mkdir(parents=True)
    for name in ("b.png", "a.png", "deep/c.png"):
        (root / name).write_bytes(PNG)
    (tmp_path / "labels.csv").write_text("file,label,by\nb.png,cat,me\ndeep/c.png,dog,me\n")
    return root


def source(folder, **options):
    return ImageFolder(path=str(folder), labels=str(folder.parent / "labels.csv"), **options)


def rows(source):
    return pa.Table.from_batches(source.rows())


def test_labels_of_a_table(folder):
    table = rows(source(folder))
    assert table.select(["label", "file"]).to_pylist() == [
        {"label": "cat", "file": "b.png"},
        {"label": "dog", "file": "deep/c.png"},
    ]
    assert b"1 pictures have no row in labels.csv, and were passed over: a.png" in table.schema.metadata[b"danlu.notes"]
    assert source(folder).origin(1) == f"{folder}/deep/c.png"
    with pytest.raises(DataError, match="there is no row 2: there are 2"):
        source(folder).origin(2)
    with pytest.raises(DataError, match="1 pictures have no row"):
        rows(source(folder, others="refuse"))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("file,label\nno.png,cat\n", r"labels\.csv: it names 'no\.png', which is not in"),
        ("file,label\n../labels.csv,cat\n", r"it names '\.\./labels\.csv', which is not in"),
        ("file,label\na.png,cat\na.png,dog\n", r"the file 'a\.png' stands there twice"),
        ("picture,label\na.png,cat\n", "it has no column 'file'"),
    ],
)
def test_a_table_that_is_wrong(folder, table, told):
    (folder.parent / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=told):
        rows(source(folder))


def test_a_picture_that_says_it_is_huge_is_refused_before_it_is_unpacked(folder):
    (folder / "b.png").write_bytes(lying(100_000, 100_000))
    with pytest.raises(DataError, match=r"b\.png: the picture is too large"):
        rows(source(folder))
    (folder / "b.png").write_bytes(lying(1000, 1000))
    with pytest.raises(DataError, match=r"b\.png: is not a picture that can be read"):
        rows(source(folder))
    (folder / "b.png").write_bytes(b"%PDF-1.4 not a picture")
    with pytest.raises(DataError, match=r"b\.png: is not a picture that can be read"):
        rows(source(folder))


def test_broken_pictures_are_skipped_counted_and_told(folder):
    (folder / "b.png").write_bytes(lying(100_000, 100_000))
    skipping = source(folder, on_error="skip", most_skipped=0.5)
    table = rows(skipping)
    assert table.column("file").to_pylist() == ["deep/c.png"]
    assert b"1 of 2 rows can't be read, and were skipped" in table.schema.metadata[b"danlu.notes"]
    assert skipping.origin(0) == f"{folder}/deep/c.png"
    with pytest.raises(DataError, match=r"1 of 2 rows can't be read, and at most 1\.00%"):
        rows(source(folder, on_error="skip"))


def test_a_link_out_of_the_folder(folder):
    (folder / "link.png").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"'link\.png' leads out of the folder"):
        rows(source(folder))
