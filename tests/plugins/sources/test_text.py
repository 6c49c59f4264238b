import bz2
import gzip
import lzma

import pyarrow as pa
import pytest

from danlu.core.errors import DataError
from danlu.plugins.sources import text as module
from danlu.plugins.sources.text import Text


def conforming(folder):
    (folder / "rows.txt").write_text("one more day\n\nthe basil came too\n")
    return {"text": {"path": str(folder / "rows.txt")}}


def rows(source, split=""):
    return pa.Table.from_batches(source.rows(split)).to_pylist()


@pytest.mark.parametrize(
    ("per", "wanted", "origin"),
    [
        ("line", ["a", "b", "c", "d"], "line 7"),
        ("paragraph", ["a\nb", "c\n d"], "line 7"),
        ("file", ["a\nb\n\n \n\nc\n d"], "line 2"),
    ],
)
def test_what_a_row_is(tmp_path, per, wanted, origin):
    (tmp_path / "a.txt").write_text("\n a\nb\n\n \n\nc\n d\n")
    source = Text(path=str(tmp_path / "a.txt"), per=per)
    assert [row["text"] for row in rows(source)] == wanted
    assert source.origin(len(wanted) // 2) == f"{tmp_path}/a.txt, {origin}"


def test_the_folder_is_the_label_and_above_it_the_split(tmp_path):
    for name in ("train/good/a.txt", "train/good/sub/b.txt.gz", "train/bad/c.txt.xz", "test/bad/d.txt.bz2"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pack = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
        path.write_bytes(pack(path.name[0].encode()))
    source = Text(path=str(tmp_path), label="folder", per="file")
    assert source.splits() == ("test", "train")
    assert rows(source) == [
        {"text": "d", "label": "bad"},
        {"text": "c", "label": "bad"},
        {"text": "a", "label": "good"},
        {"text": "b", "label": "good"},
    ]
    assert rows(source, "test") == [{"text": "d", "label": "bad"}]
    assert source.origin(1, "train") == f"{tmp_path}/train/good/a.txt, line 1"
    (tmp_path / "loose.txt").write_text("x")
    with pytest.raises(DataError, match=r"loose\.txt: it lies in no label's folder"):
        rows(source)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030", "cp1252"])
def test_encodings_are_found_out(tmp_path, encoding):
    text = "一个好故事。\n这本书写得不错，值得一看。\n" if encoding != "cp1252" else "un été\nà côté\n"
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    table = pa.Table.from_batches(Text(path=str(tmp_path)).rows())
    assert table.column("text").to_pylist() == text.splitlines()
    assert bool(table.schema.metadata) == (encoding in ("gb18030", "cp1252"))


def test_lines_in_another_encoding(tmp_path):
    lines = [f"第 {k} 行写的是 UTF-8".encode() for k in range(300)]
    lines[40], lines[200] = "这一行写的是别的编码".encode("gb18030"), "été".encode("latin-1")
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=r"a\.txt, line 41: .* the file mixes encodings\n.*on_error: skip"):
        rows(Text(path=str(tmp_path)))
    source = Text(path=str(tmp_path), on_error="skip")
    table = pa.Table.from_batches(source.rows())
    assert table.num_rows == 298
    assert b"2 of 300 rows can't be read" in table.schema.metadata[b"danlu.notes"]
    assert b"a.txt, line 41: the line is not utf-8" in table.schema.metadata[b"danlu.notes"]
    assert [source.origin(row).rpartition(" ")[2] for row in (39, 40, 198, 199, 297)] == [
        "40",
        "42",
        "200",
        "202",
        "300",
    ]
    with pytest.raises(DataError, match=r"2 of 300 rows can't be read, and at most 0\.50% may be skipped; the first"):
        rows(Text(path=str(tmp_path), on_error="skip", most_skipped=0.005))


def test_a_file_that_is_one_row_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LONGEST", 100)
    (tmp_path / "a.txt").write_text("ten letter\n" * 20)
    with pytest.raises(DataError, match=r"a\.txt, line 1: a file has more than"):
        rows(Text(path=str(tmp_path), per="file"))


def test_a_binary_file(tmp_path):
    (tmp_path / "a.txt").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="are not utf-8"):
        rows(Text(path=str(tmp_path)))


def test_a_file_that_changes_while_it_is_read(tmp_path):
    (tmp_path / "a.txt").write_text("row\n" * 3000)
    batches = iter(Text(path=str(tmp_path)).rows())
    next(batches)
    (tmp_path / "a.txt").write_text("row\n" * 3001)
    with pytest.raises(DataError, match="it was changed while it was read"):
        list(batches)
