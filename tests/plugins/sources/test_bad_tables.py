"""Tables that nobody should be given, each an error in words or rows that are whole: nothing is lost in silence."""

import json
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danlu import data_check
from danlu.blocks.pixels import encode_picture
from danlu.core.artifact import Store
from danlu.core.errors import DataError
from danlu.core.events import Events
from danlu.plugins.sources.arrow import Arrow
from danlu.plugins.sources.image_folder import ImageFolder
from danlu.plugins.sources.json import JSON
from danlu.plugins.sources.jsonl import JSONL
from danlu.plugins.sources.parquet import Parquet
from danlu.plugins.sources.sql import SQL
from danlu.stages.prepare import Prepare

OPERATORS = ("normalize", "strip_html", "drop_empty", "drop_duplicates", "near_duplicates")
WORDS = ["warm", "dull", "loud", "quiet", "long", "short", "old", "new", "good", "bad", "red", "blue"]


def prepared(folder, source, operators=OPERATORS):
    task = {"text_classification": {"text": "text", "label": "label"}}
    stage = Prepare(source=source, task=task, operators=operators)
    draft = Store(folder / "store").draft(
        "0" * 64, kind="dataset", step="data", stage="prepare", inputs={}, settings={}
    )
    stage.run({}, draft, Events.silent())
    return draft.commit()


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def listed(**changed):
    """Rows with a column of lists, some of them missing or empty."""
    made = []
    for k in range(60):
        text = " ".join(WORDS[(k * step + step) % 12] for step in (1, 5, 7, 11)) + f" {k * 7919}"
        made.append({"text": text, "label": "ab"[k % 2], "tags": [None, [], ["x", str(k)]][k % 3]})
    return [row | {name: change(k) for name, change in changed.items()} for k, row in enumerate(made)]


def test_a_column_of_lists_stays_with_its_rows(tmp_path):
    rows = listed()
    made = prepared(tmp_path, {"jsonl": str(lines(tmp_path / "my.jsonl", rows))})
    tables = [pq.read_table(made.path / f"{name}.parquet") for name in ("train", "validation", "test")]
    kept = {row["text"]: row["tags"] for table in tables for row in table.to_pylist()}
    assert len(kept) > 40
    assert kept.items() <= {row["text"]: row["tags"] for row in rows}.items()
    told = data_check.check(str(tmp_path / "my.jsonl"), rows=None)
    assert [column["name"] for column in told["columns"]] == ["text", "label", "tags"]


@pytest.mark.parametrize(("column", "told"), [("text", "not text"), ("label", "not labels")])
def test_lists_are_neither_texts_nor_labels(tmp_path, column, told):
    path = lines(tmp_path / "my.jsonl", listed(**{column: lambda k: [f"a{k % 2}"]}))
    with pytest.raises(DataError, match=rf"the column '{column}' holds list<.*string>, {told}"):
        prepared(tmp_path, {"jsonl": str(path)})


@pytest.mark.parametrize("kind", [Parquet, Arrow])
def test_column_names_that_stand_there_twice(tmp_path, kind):
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    if kind is Parquet:
        pq.write_table(table, tmp_path / "my.table")
    else:
        with pa.OSFile(str(tmp_path / "my.table"), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
            out.write_table(table)
    with pytest.raises(DataError, match=r"my\.table: the column 'text' stands there twice"):
        list(kind(path=str(tmp_path / "my.table")).rows())


@pytest.mark.parametrize("kind", [JSON, JSONL])
def test_ten_million_commas_in_an_object(tmp_path, kind):
    row = '{"text": "x", "label": "a"}'
    odd = '{"text": "y"' + "," * 10_000_000 + "}"
    (tmp_path / "my.file").write_text(f"[{row},{odd}]" if kind is JSON else f"{row}\n{odd}\n")
    with pytest.raises(DataError, match=r"my\.file, (item|line) 2: it is not JSON"):
        list(kind(path=str(tmp_path / "my.file")).rows())


@pytest.mark.parametrize("each", [20_000, 300])
def test_more_keys_than_columns_can_be(tmp_path, each):
    """In one row, or a few in every row."""
    rows = [{"text": "x"}, *({f"user{k + n}": 1 for n in range(each)} for k in range(0, 20_000, each))]
    source = JSONL(path=str(lines(tmp_path / "my.jsonl", rows)))
    with pytest.raises(DataError, match=r"line \d+: with this row there are [\d,]+ columns, at most 10,000 are taken"):
        list(source.rows())
    skipping = JSONL(path=str(tmp_path / "my.jsonl"), on_error="skip", most_skipped=0.9)
    assert pa.Table.from_batches(skipping.rows()).num_columns <= 10_000


def test_a_small_file_of_many_rows_comes_in_small_batches(tmp_path):
    same = pa.array([0]).take(pa.array(np.zeros(2_000_000, np.int64)))
    words = pa.DictionaryArray.from_arrays(same.cast(pa.int32()), pa.array(["the same text again and again " * 30]))
    pq.write_table(pa.table({"text": words}), tmp_path / "my.parquet")
    assert (tmp_path / "my.parquet").stat().st_size < 250_000  # of 1.8 GB of text
    before = pa.total_allocated_bytes()
    rows = 0
    for batch in Parquet(path=str(tmp_path / "my.parquet")).rows():
        rows += batch.num_rows
        assert pa.total_allocated_bytes() - before < 300 << 20
    assert rows == 2_000_000


def test_a_table_of_sqlite_that_changes_while_it_is_read_gives_one_state(tmp_path):
    path = tmp_path / "my.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE reviews (id INTEGER PRIMARY KEY, label TEXT)")
        db.executemany("INSERT INTO reviews VALUES (?, 'old')", [(k,) for k in range(3000)])
    source = SQL(url=f"sqlite:///{path}", table="reviews")
    batches = iter(source.rows())
    read = [next(batches)]
    with sqlite3.connect(path) as db:
        db.execute("UPDATE reviews SET label = 'new'")
        db.execute("DELETE FROM reviews WHERE id > 2000")
    db.close()
    table = pa.Table.from_batches([*read, *batches])
    assert table.column("id").to_pylist() == list(range(3000))
    assert set(table.column("label").to_pylist()) == {"old"}
    assert pa.Table.from_batches(source.rows()).num_rows == 2001


def test_a_picture_that_goes_while_the_folder_is_read(tmp_path):
    (tmp_path / "cats").mkdir()
    for k in range(80):
        (tmp_path / "cats" / f"{k:02}.png").write_bytes(encode_picture(np.full((2, 2), k, np.uint8)))
    batches = iter(ImageFolder(path=str(tmp_path)).rows())
    assert next(batches).num_rows == 64
    (tmp_path / "cats" / "70.png").unlink()
    with pytest.raises(DataError, match=r"cats/70\.png: the picture can't be read: No such file"):
        next(batches)
