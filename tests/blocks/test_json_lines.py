import json

import pyarrow as pa
import pytest

from danlu.blocks import json_lines, objects
from danlu.blocks.json_lines import Lines
from danlu.core.errors import DataError
from danlu.plugins.sources.jsonl import JSONL

FIRST = b'{"a":"warm","n":1,"x":0.5,"yes":true,"none":null}\n'
ODD = (
    b'{"a":"2020-01-01","n":2}', b'{"a":"x","a":"y"}', b'{"x":NaN}', b'{"x":Infinity}', b'{"x":1e999}', b'{"x":1}', b'{"n":1.0}',
    b'{"n":1e3}', b'{"n":9999999999999999999999}', b'{"a":1}', b'{"b":1}', b'{"a":"\xff"}', b'{"a":"\\ud800"}', b"{}", b"{  }",
    b"  ", b'{"a":"x"} {"a":"y"}', b'{"a":\n"x"}', b'{"a":"x"},', b"[1]", b'\xef\xbb\xbf{"a":"x"}', b'{"none":1}', b'{"none":null}',
    b'{"a":"x\ty"}', b'{"a":"x\\u0000y"}', b'{"n":true}', b'{"a":"x"}\x00{"a":"y"}', b'{"n":01}', b'{"n":-0}', b'{"n":+1}',
    b"{'a':1}", b'{"a":"x"}\r', b'{"a":"x"}\r{"a":"y"}', b'{"x":.5}', b'{"x":9007199254740993}', b'{"a":"x"} // c', b'{"A":"x"}',
    b'{"x":1.}', b'{"a"', b'{"a":"x"}\x0b', b'{"a":"\\x"}', b'{"a":{"b":1}}', b'{"a":["x"]}', b'{"a":{"b":1}\n{"c":2}}',
    b'{"a":"x"}\n{"a":"y"}', '{"a":"\u597d\\u597d"}'.encode(), b'{"yes":0}', b'{"x":"1"}', b'{"n":null}', b"null", b'{"x":-1e-320}',
)  # fmt: skip


def outcome(path, on_error):
    try:
        table = pa.Table.from_batches(JSONL(path=str(path), on_error=on_error, most_skipped=1).rows())
    except DataError as fault:
        return str(fault)
    return table.to_pylist(), str(table.schema)


@pytest.mark.parametrize("on_error", ["stop", "skip"])
@pytest.mark.parametrize("odd", ODD)
def test_many_lines_at_once_say_what_each_of_them_says(tmp_path, monkeypatch, odd, on_error):
    monkeypatch.setattr(json_lines, "FIRST", 1)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(FIRST + b'{"a":"cold"}\n' + odd + b'\n{"a":"late"}\n')
    at_once = outcome(path, on_error)
    monkeypatch.setattr(Lines, "at_once", lambda self, schema: None)
    assert at_once == outcome(path, on_error)


def test_lines_under_known_columns_are_taken_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "FIRST", 10)
    monkeypatch.setattr(json_lines, "PART", 1000)
    path, taken = tmp_path / "rows.jsonl", []
    monkeypatch.setattr(json_lines, "_object", lambda text, where: taken.append(where) or json.loads(text))
    path.write_text("".join(json.dumps({"a": f"text {k}"}) + "\n" for k in range(500)))
    assert [row["a"] for batch in JSONL(path=str(path)).rows() for row in batch.to_pylist()] == [
        f"text {k}" for k in range(500)
    ]
    assert [where.rpartition("/")[2] for where in taken] == ["rows.jsonl, line 1"]


@pytest.mark.parametrize(("room", "asked"), [(1 << 26, [1, 2, 1]), (0, [1, 2, 1, 2])])
def test_lines_are_parsed_again_only_where_there_was_no_room(tmp_path, monkeypatch, room, asked):
    monkeypatch.setattr(json_lines, "FIRST", 10)
    monkeypatch.setattr(objects, "_HELD", room)
    path, taken, parse = tmp_path / "rows.jsonl", [], Lines.at_once
    monkeypatch.setattr(Lines, "at_once", lambda self, schema: taken.append(self.number) or parse(self, schema))
    path.write_text("".join(json.dumps({"a": f"text {k}"}) + "\n" for k in range(20)))
    assert pa.Table.from_batches(JSONL(path=str(path)).rows()).num_rows == 20
    assert taken == asked


def test_a_column_that_changes_later_changes_the_lines_read_before(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "FIRST", 10)
    monkeypatch.setattr(json_lines, "PART", 10)
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 1}\n{"n": 2}\n{"n": 2.5}\n')
    table = pa.Table.from_batches(JSONL(path=str(path)).rows())
    assert table.column("n").to_pylist() == [1.0, 2.0, 2.5]


def test_the_lines_after_one_that_is_too_long_keep_their_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "LONGEST", 40)
    monkeypatch.setattr(json_lines, "FIRST", 10)
    path = tmp_path / "rows.jsonl"
    for size in (50, 90, 200):
        path.write_text(f'{{"a": "x"}}\n{{"a": "{"y" * size}"}}\n{{"a": "z"}}\n{{"a": }}\n')
        faults = [found for found in json_lines.read_lines(_file(path)) if isinstance(found[1], DataError)]
        assert [number for number, _ in faults] == [2, 4]


def _file(path):
    return next(iter(JSONL(path=str(path))._opened("").__enter__()))
