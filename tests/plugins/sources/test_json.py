import json
import tracemalloc

import pyarrow as pa
import pytest

from danlu.blocks import json_array
from danlu.core.errors import DataError
from danlu.plugins.sources.json import JSON


def conforming(folder):
    (folder / "rows.json").write_text('[{"text": "warm", "label": "good"}, {"text": "cold", "label": "bad"}]')
    return {"json": {"path": str(folder / "rows.json")}}


def source(folder, text, **options):
    path = folder / "rows.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return JSON(path=str(path), **options)


def rows(source):
    return pa.Table.from_batches(source.rows()).to_pylist()


def test_an_array_of_objects_and_an_object_of_columns(tmp_path):
    wanted = [{"text": "好", "n": 1.5, "tags": ["a"]}, {"text": None, "n": 2.0, "tags": []}]
    assert rows(source(tmp_path, json.dumps(wanted, indent=1))) == wanted
    columns = {name: [row[name] for row in wanted] for name in wanted[0]}
    assert rows(source(tmp_path, json.dumps(columns))) == wanted
    assert rows(source(tmp_path, "\ufeff" + json.dumps(columns))) == wanted


def test_an_item_may_lie_across_the_pieces_that_are_read(tmp_path, monkeypatch):
    wanted = [{"text": f'"{k}\\ 好 {{[', "n": k} for k in range(50)]
    for size in (1, 2, 7, 64):
        monkeypatch.setattr(json_array, "_CHUNK", size)
        assert rows(source(tmp_path, json.dumps(wanted, ensure_ascii=False))) == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"a": 1}, {"a": }]', r"rows\.json, item 2: it is not JSON"),
        ('[{"a": 1}, {"a": 1', r"item 2: it is not JSON"),
        ('[{"a": 1} {"a": 2}]', r"item 1: after it comes '\{', not a comma"),
        ('[{"a": 1}] x', r"item 1: after the array comes more"),
        ('[{"a": 1}, [1]]', r"item 2: an item must be an object with keys"),
        ('[{"a": 1, "a": 2}]', r"item 1: it is not JSON: a key stands twice"),
        ('[{"a": 1}, {"a": "x"}]', r"item 2: 'a' is text, on item 1 it is a number"),
        ("[]", "the file has no rows"),
        ("7", "neither an array nor an object"),
        ("", "neither an array nor an object"),
        ('{"data": [{"a": 1}]}', r"its rows lie deeper, below the key 'data'\n.*jq \.data"),
        ('{"data": {"a": [1]}}', r"'data' holds no list of values"),
        ('{"a": [1], "b": [1, 2]}', r"its columns are not of one length: a 1, b 2"),
        ('{"a": [1', "it is not JSON"),
        ("[" * 100_000, r"item 1: it is not JSON"),
        ('[{"a": "é"}]'.encode("latin-1"), "it is not UTF-8"),
        ('[{"a": 1}]'.encode("utf-16"), "it is not UTF-8"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, told):
    with pytest.raises(DataError, match=told):
        rows(source(tmp_path, text))


def test_a_broken_item_is_skipped_and_told(tmp_path):
    items = [{"a": k} if k != 17 else "odd" for k in range(200)]
    one = source(tmp_path, json.dumps(items), on_error="skip")
    table = pa.Table.from_batches(one.rows())
    assert table.num_rows == 199
    assert b"1 of 200 rows can't be read, and were skipped" in table.schema.metadata[b"danlu.notes"]
    assert b"item 18: an item must be an object" in table.schema.metadata[b"danlu.notes"]
    assert one.origin(16).endswith("rows.json, item 17")
    assert one.origin(17).endswith("rows.json, item 19")


def test_it_is_streamed(tmp_path):
    row = json.dumps({"text": "x" * 1000, "n": 1})
    one = source(tmp_path, "[" + ",".join([row] * 20_000) + "]")
    tracemalloc.start()
    assert sum(batch.num_rows for batch in one.rows()) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 << 20 < (tmp_path / "rows.json").stat().st_size
