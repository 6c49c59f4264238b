import pyarrow as pa
import pytest

from danlu.blocks import delimited
from danlu.blocks.delimited import DOUBTS, NOTES, read_delimited
from danlu.core.errors import DataError


@pytest.fixture
def read(tmp_path):
    def read(content, **options):
        path = tmp_path / "file.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return pa.Table.from_batches(read_delimited(path, **options))

    return read


def test_cells_stay_as_they_stand(read):
    table = read('id,text,score\n007,"NA, null",1.50\n8, true ,1e3\n')
    assert table.to_pylist() == [
        {"id": "007", "text": "NA, null", "score": "1.50"},
        {"id": "8", "text": " true ", "score": "1e3"},
    ]


def test_a_missing_cell_is_null_a_quoted_empty_one_is_not(read):
    assert read('a,b\n1,\n2,""\n3,NA\n4,null\n').column("b").to_pylist() == [None, "", "NA", "null"]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_the_delimiter_is_found(read, delimiter):
    text = "text|label\nso; long, then|pos\nwell,ok|neg\n".replace("|", delimiter) if delimiter in "|\t" else None
    text = text or f"text{delimiter}label\nso long{delimiter}pos\nwell{delimiter}neg\n"
    assert read(text).column_names == ["text", "label"]


def test_commas_in_numbers_do_not_hide_semicolons(read):
    assert read("a;b\n1,5;2,5\n3,5;4\n").to_pylist()[0] == {"a": "1,5", "b": "2,5"}


def test_a_given_delimiter_counts(read):
    assert read("a,b;c\n1,2;3\n", delimiter=";").column_names == ["a,b", "c"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_and_empty_lines(read, newline):
    assert read(newline.join(["", "a,b", "", "1,2", "", "3,4", ""])).column("a").to_pylist() == ["1", "3"]


def test_quotes_and_lines_within_a_cell(read):
    assert read('a,b\n1,"he said ""hi""\nand left"\n').column("b").to_pylist() == ['he said "hi"\nand left']


def test_a_quote_that_closes_early_within_a_line_is_read_as_others_read_it(read):
    assert read('a,b\n"he" said,1\na 5" disk,2\n"x\n""y""",""\n').column("a").to_pylist() == [
        "he said",
        'a 5" disk',
        'x\n"y"',
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_encodings(read, encoding):
    text = "文本,标签\n" + "这家酒店的服务很好，房间也干净,好\n手机屏幕坏了，客服态度很差,差\n" * 10
    table = read(text.encode(encoding))
    assert table.column_names == ["文本", "标签"]
    assert table.num_rows == 20
    assert (NOTES in (table.schema.metadata or {})) == (encoding == "gb18030")


def test_a_guess_is_told(read):
    table = read("text,label\nun cliché,neg\n".encode("latin-1"))
    assert "read as cp1252, a guess: 'un cliché,neg'" in table.schema.metadata[NOTES].decode()
    assert read("text,label\nun cliché,neg\n".encode("latin-1"), encoding="latin-1").schema.metadata is None


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("a,b\n1,2\n3,4,5\n6,7\n", r"line 3: the row and the header differ in length, 3 and 2 cells: '3,4,5'\n.*quote"),
        ('a,b\n1,"x\ny"\n3\n', r"line 4: the row and the header differ in length, 1 and 2 cells: '3'\n.*fill in"),
        ("text\nhello, you\n", r"line 2: the row and the header differ in length, 2 and 1 cells"),
        ("a,b\n", r"a header but no rows"),
        ("", r"the file is empty"),
        ("a,b,a\n1,2,3\n", r"header: the column name 'a' stands there 2 times\n.*`header: false`"),
        ("a, a \n1,2\n", r"header: the column name 'a' stands there 2 times"),
        ("," * 100_000 + "\n", r"header: column 1 of 100001 has no name"),
        ("a,,c\n1,2,3\n", r"header: column 2 of 3 has no name"),
        ("," * 10_000_000, r"the header is longer than a million"),
        (
            "a,b\n1,2\n" + '1,"x\n2,3\n4,5\n',
            r"line 3: a quote .* never closed: it swallows all rows up to the last line, 5",
        ),
        ('a,b\n1,2\n"x,3\n4,5\n', r"line 3: a quote .* never closed"),
        ('a,b\n1,2\n"x,3\n4,5\n"y, z",6\n7,8\n', r"line 3: a quote .* not closed before the next one, on line 5"),
        ('a,b\n1,2\n"x,3\n"y",4\n5,6\n', r"line 3: a quote .* not closed before the next one, on line 4.*\n.*twice"),
        ('a,"b\n1,2\n', r"line 1: a quote .* never closed"),
        ('a;b\r"x;""\r"";"z\r"\r', r"line 2: a quote .* not closed before the next one, on line 3"),
        ('"' + "a" * 2_000_000, r"header"),
        ("a,b\n1,x\0y\n", r"line 2: it holds NUL bytes"),
    ],
)
def test_what_is_wrong_is_told(read, content, match):
    with pytest.raises(DataError, match=match):
        read(content)


def test_a_file_without_a_header_loses_no_row(read):
    table = read("a fine film,pos\nbad,neg\n\nnice, pos\n", header=False)
    assert table.column_names == ["c1", "c2"]
    assert table.column("c1").to_pylist() == ["a fine film", "bad", "nice"]
    assert table.schema.metadata is None
    assert read("x,x\n", header=False).to_pylist() == [{"c1": "x", "c2": "x"}]
    with pytest.raises(DataError, match="line 2: the row and the first line differ in length, 3 and 2 cells"):
        read("a,b\n1,2,3\n", header=False)


def test_a_first_line_that_looks_like_a_row_is_told(read):
    told = read("a fine film,pos\x1b\nbad,neg\nnice,pos\x1b\nfair,pos\x1b\n").schema.metadata[DOUBTS].decode()
    assert told.startswith("the first line of file.csv looks like a row, not like names of columns: 'pos")
    assert told.endswith("stands 2 times in the first 3 rows below it\theader=false")
    assert "\x1b" not in told
    assert read("text,label\nbad,neg\nnice,pos\nfair,pos\n").schema.metadata is None


def test_a_ragged_row_far_down_names_its_line(read):
    with pytest.raises(DataError, match="line 200002:"):
        read("a,b\n" + "1,2\n" * 200_000 + "3\n" + "6,7\n" * 10)


def test_a_quote_that_swallows_more_than_a_block(read, monkeypatch):
    monkeypatch.setattr(delimited, "_LEAST_BLOCK", 1000)
    with pytest.raises(DataError, match=r"never closed|longer than a block"):
        read('a,b\n1,"x\n' + "2,3\n" * 4_000_000)


def test_rows_come_in_batches(read, tmp_path):
    (tmp_path / "big.csv").write_text("a,b\n" + "some words here,label\n" * 500_000)
    batches = list(read_delimited(tmp_path / "big.csv"))
    assert sum(batch.num_rows for batch in batches) == 500_000
    assert max(batch.nbytes for batch in batches) < 16 << 20


def test_a_cell_longer_than_a_block(read):
    long = "x" * (9 << 20)
    assert len(read(f"a,b\n1,{long}\n2,y\n").column("b")[0].as_py()) == len(long)
