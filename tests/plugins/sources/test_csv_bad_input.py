"""What people and strangers put into CSV files: each a clear error, or rows skipped, counted and told."""

import gzip
import subprocess
import sys

import pyarrow as pa
import pytest

from danlu.core.errors import DataError
from danlu.plugins.sources.csv import CSV


def source(folder, content, name="my.csv", **options):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return CSV(path=str(folder / name), **options)


def table(source):
    return pa.Table.from_batches(source.rows())


def many(**changed):
    """500 lines below a header, of which some are others; `line7` is the seventh line of the file."""
    lines = ["text,label", *(f"warm {k},good" for k in range(500))]
    for name, line in changed.items():
        lines[int(name.removeprefix("line")) - 1] = line
    return "\n".join(lines) + "\n"


def test_ragged_rows_stop_reading_or_are_skipped_counted_and_told(tmp_path):
    content = many(line7="a,b,c", line8='"two\nlines",good', line300="only one")
    with pytest.raises(DataError, match=r"my\.csv, line 7: the row and the header differ in length, 3 and 2 cells"):
        table(source(tmp_path, content))
    skipping = source(tmp_path, content, on_error="skip")
    read = table(skipping)
    notes = read.schema.metadata[b"danlu.notes"].decode()
    assert read.num_rows == 498
    assert "2 of 500 rows can't be read, and were skipped:" in notes
    assert "my.csv, line 7: the row has 1 cells more than the header" in notes
    assert "my.csv, line 301: the row has 1 cells less" in notes
    assert [skipping.origin(row).rpartition(" ")[2] for row in (4, 5, 6, 297, 298)] == ["6", "8", "10", "302", "303"]


def test_more_than_its_share_is_not_skipped(tmp_path):
    content = many(**{f"line{k}": "odd" for k in range(10, 20)})
    with pytest.raises(DataError, match=r"10 of 500 rows can't be read, and at most 1\.00% .*\n.*most_skipped: 0\.020"):
        table(source(tmp_path, content, on_error="skip"))
    assert table(source(tmp_path, content, on_error="skip", most_skipped=0.02)).num_rows == 490


def test_a_file_of_refused_rows_says_why_whatever_may_be_skipped(tmp_path):
    odd = source(tmp_path, "text,label\n" + "," * 100_000 + "\n", on_error="skip", most_skipped=1)
    with pytest.raises(
        DataError, match=r"my\.csv, line 2: the only row was refused; .* 99999 cells more than the header"
    ):
        table(odd)
    all_odd = source(tmp_path, "text,label\none\ntwo\n", on_error="skip", most_skipped=1)
    with pytest.raises(
        DataError, match=r"line 2: every one of 2 rows was refused; the first: the row has 1 cells less"
    ):
        table(all_odd)
    (tmp_path / "other.csv").write_text("text,label\nwarm,good\n")
    both = CSV(path=str(tmp_path), on_error="skip", most_skipped=1)
    assert table(both).to_pylist() == [{"text": "warm", "label": "good"}]
    assert "2 of 3 rows can't be read" in table(both).schema.metadata[b"danlu.notes"].decode()


def test_a_quote_that_swallows_rows_is_never_one_skipped_row(tmp_path):
    swallows = source(tmp_path, many(line300='"only one'), on_error="skip")
    with pytest.raises(DataError, match=r"line 300: a quote .* swallows all rows up to the last line, 501"):
        table(swallows)
    assert table(source(tmp_path, many(line300='"two\nlines"'), on_error="skip")).num_rows == 499


def test_mixed_encodings(tmp_path):
    lines = [f"第 {k} 条评论,好".encode() for k in range(300)]
    lines[250] = "这是一条很长的评论,坏".encode("gb18030")
    content = b"\n".join([b"text,label", *lines])
    with pytest.raises(DataError, match=r"my\.csv, line 252: .* are not utf-8, which other lines are: the file mixes"):
        table(source(tmp_path, content))
    skipping = source(tmp_path, content, on_error="skip")
    assert table(skipping).num_rows == 299
    assert b"my.csv, line 252: the line is not utf-8" in table(skipping).schema.metadata[b"danlu.notes"]
    assert skipping.origin(250) == f"{tmp_path}/my.csv, line 253"


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "cp1252", "utf-8"])
def test_one_encoding_is_not_taken_for_several(tmp_path, encoding):
    texts = ["été", "à côté", "naïve"] if encoding == "cp1252" else ["好", "这本书写得不错", "差"]
    texts = ["好", "故事很長", "差"] if encoding == "big5" else texts
    content = "text,label\n" + "".join(f"{text},{k}\n" for k in range(200) for text in texts)
    assert table(source(tmp_path, content.encode(encoding))).column("text").to_pylist() == texts * 200


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_mark_at_the_beginning(tmp_path, encoding):
    assert table(source(tmp_path, "text\n好\n".encode(encoding))).to_pylist() == [{"text": "好"}]


def test_column_names_that_stand_there_twice(tmp_path):
    with pytest.raises(DataError, match=r"header: the column name 'a' stands there 2 times"):
        table(source(tmp_path, "a,b,a\n1,2,3\n"))


READ = """
import resource, sys
from danlu.core.errors import DataError
from danlu.plugins.sources.csv import CSV
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    list(CSV(path=sys.argv[1]).rows())
except DataError as fault:
    print(fault)
print("grown", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize(
    ("before", "told"),
    [("", "the header is longer than a million characters"), ("a,b\n1,2\n", "line 3: the row and the header differ")],
)
def test_ten_million_commas_in_a_line_are_an_error_in_bounded_memory(tmp_path, before, told):
    source(tmp_path, before + "," * 10_000_000 + "\n1,2\n")
    ran = subprocess.run([sys.executable, "-c", READ, str(tmp_path / "my.csv")], capture_output=True, text=True)
    assert told in ran.stdout, ran.stderr
    assert int(ran.stdout.rpartition("grown")[2]) < 500  # MB


def test_packed_files_and_a_bomb(tmp_path):
    content = gzip.compress(many().encode())
    packed = source(tmp_path, content, name="my.csv.gz")
    assert table(packed).num_rows == 500
    assert packed.origin(17) == f"{tmp_path}/my.csv.gz, line 19"
    with pytest.raises(DataError, match=r"my\.csv\.gz, line 2: the row and the header differ"):
        table(source(tmp_path, gzip.compress(b"a,b\n1\n"), name="my.csv.gz"))
    bomb = gzip.compress(b"a\n" + bytes(100 << 20))
    with pytest.raises(DataError, match=r"my\.csv\.gz: it unpacks to more than 250 times its size"):
        table(source(tmp_path, bomb, name="my.csv.gz"))


@pytest.mark.parametrize("cell", ["../secret.png", "/etc/hostname", "link.png", "../gone.png", "zero"])
def test_a_cell_names_no_picture_outside_the_folder(tmp_path, cell):
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "link.png").symlink_to("../secret.png")
    (folder / "zero").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"leads out of the folder"):
        table(source(folder, f"picture,label\n{cell},1\n", pictures=("picture",)))


def test_a_folder_of_files_with_splits(tmp_path):
    for name in ("train-1.csv", "train-2.csv", "test.csv"):
        (tmp_path / name).write_text(f"file\n{name}\n")
    folder = CSV(path=str(tmp_path))
    assert folder.splits() == ("test", "train")
    assert [row["file"] for batch in folder.rows("train") for row in batch.to_pylist()] == [
        "train-1.csv",
        "train-2.csv",
    ]
    assert folder.origin(1, "train") == f"{tmp_path}/train-2.csv, line 2"
    assert CSV(path=str(tmp_path / "train*.csv")).splits() == ("train",)
    assert CSV(path=str(tmp_path / "test.csv")).splits() == ()
