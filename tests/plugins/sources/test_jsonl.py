import json

import pyarrow as pa
import pytest

from danlu.blocks import json_lines
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.sources.jsonl import JSONL


def conforming(folder):
    write(folder, {"text": "warm", "label": "good"}, {"text": "cold", "label": "bad"})
    return {"jsonl": {"path": str(folder / "rows.jsonl")}}


def write(folder, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return JSONL(path=str(folder / "rows.jsonl"))


def table(source):
    return pa.Table.from_batches(source.rows())


def test_the_rows_of_a_file(tmp_path):
    source = write(tmp_path, {"text": "好", "n": 1, "tags": ["a", "b"]}, "  ", {"n": 2.5, "tags": [], "late": True})
    assert table(source).to_pylist() == [
        {"text": "好", "n": 1.0, "tags": ["a", "b"], "late": None},
        {"text": None, "n": 2.5, "tags": [], "late": True},
    ]


def test_all_batches_have_the_columns_of_the_last_line(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "FIRST", 10)
    source = write(tmp_path, *({"a": k} for k in range(5)), {"a": 5.5, "b": "x"})
    batches = list(source.rows())
    assert [batch.num_rows for batch in batches] == [2, 4]
    assert {str(batch.schema) for batch in batches} == {"a: double\nb: string"}


def test_a_key_that_is_null_everywhere_is_text(tmp_path):
    assert table(write(tmp_path, {"a": None, "b": 1})).schema.field("a").type == pa.string()


def test_a_mark_at_the_beginning_is_no_part_of_the_row(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert table(JSONL(path=str(tmp_path / "rows.jsonl"))).to_pylist() == [{"a": 1}]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (['{"a": 1}', '{"a": }'], r"rows\.jsonl, line 2: it is not JSON"),
        (['{"a": 1}', "[1]"], r"line 2: a line must be an object with keys"),
        (['{"a": NaN}'], r"line 1: it is not JSON: NaN is no number"),
        (['{"a": 1, "a": 2}'], r"line 1: it is not JSON: a key stands twice"),
        (['{"a": 1}', "", '{"a": "x"}'], r"line 3: 'a' is text, on line 1 it is a number"),
        (['{"a": [1]}', '{"a": ["x"]}'], r"line 2: its values can't be put into columns"),
        (['{"a": 99999999999999999999}'], r"line 1: its values can't be put into columns"),
        ([r'{"a": "\ud800"}'], r"line 1: its values can't be put into columns"),
        (["[" * 100_000], r"line 1: it is not JSON"),
        ([""], "the file has no rows"),
    ],
)
def test_a_bad_line_is_named(tmp_path, rows, told):
    with pytest.raises(DataError, match=told):
        list(write(tmp_path, *rows).rows())


def test_what_is_no_utf8_and_what_is_too_long(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"a": "é"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match="line 1: it is not UTF-8"):
        list(JSONL(path=str(path)).rows())
    monkeypatch.setattr(json_lines, "LONGEST", 10)
    with pytest.raises(DataError, match="line 1: the line has more than"):
        list(write(tmp_path, {"a": "x" * 20}).rows())


def test_a_missing_file_a_folder_and_a_split(tmp_path):
    (tmp_path / "reviews.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(DataError, match=r"no such file\n.*reviews\.jsonl"):
        list(JSONL(path=str(tmp_path / "review.jsonl")).rows())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.jsonl or \.ndjson file in the folder"):
        list(JSONL(path=str(tmp_path / "empty")).rows())
    with pytest.raises(RecipeError, match="no split 'test'"):
        list(JSONL(path=str(tmp_path)).rows("test"))
