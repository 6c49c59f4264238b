"""Rows that outgrow memory go to a file, and come back the same."""

import pyarrow as pa
import pytest

from danlu.blocks.pieces import Pieces
from danlu.core.errors import DataError


def table(first, rows=100):
    return pa.table({"n": range(first, first + rows), "text": [f"text {k}" for k in range(first, first + rows)]})


@pytest.fixture(params=[2**30, 3000, 0], ids=["in memory", "outgrown", "from the start"])
def pieces(request, tmp_path):
    return Pieces.of((table(k * 100) for k in range(5)), tmp_path, memory=request.param)


def test_the_same_rows_come_back_in_order_any_number_of_times(pieces):
    for _ in range(2):
        assert pa.concat_tables(list(pieces)).column("n").to_pylist() == list(range(500))
    assert pieces.num_rows == pieces.whole().num_rows == 500
    assert pieces.schema.names == ["n", "text"]


def test_few_rows_are_one_table_and_many_are_not(tmp_path):
    assert len(list(Pieces.of([table(0), table(100)], tmp_path))) == 1
    many = Pieces.of([table(0), table(100)], tmp_path, memory=0)
    assert many.many
    assert len(list(many)) == 2
    assert many.head().num_rows == 100


def test_few_rows_are_not_joined_to_be_gone_through(tmp_path):
    few = Pieces.of([table(0), table(100)], tmp_path)
    again = Pieces.of([few.head()], tmp_path)
    assert [few.head().column("n").num_chunks, few.whole().column("n").num_chunks] == [3, 1]  # one has no rows
    assert [part.num_rows for part in again.parts(1)] == [100, 100]
    assert again.head().equals(few.whole())


def test_rows_can_be_added_after_reading_only_while_they_are_in_memory(tmp_path):
    few = Pieces.of([table(0)], tmp_path)
    assert few.whole().num_rows == 100
    few.add(table(100))
    assert few.whole().num_rows == 200


def test_a_thin_table_holds_the_named_columns_alone_where_rows_are_many(pieces):
    thin = pieces.thin(["n"])
    assert thin.column("n").to_pylist() == list(range(500))
    assert thin.column("text").null_count == (500 if pieces.many else 0)
    assert thin.schema == pieces.schema


def test_other_columns_and_types_are_refused(tmp_path):
    many = Pieces.of([table(0)], tmp_path, memory=0)
    with pytest.raises(DataError, match="rows 101 and after have other columns or types"):
        many.add(pa.table({"n": ["a"], "text": ["b"]}))


def test_a_column_that_was_empty_at_first_takes_its_type_later(tmp_path):
    few = Pieces.of([pa.table({"n": pa.nulls(2)}), pa.table({"n": [1]})], tmp_path)
    assert few.whole().column("n").to_pylist() == [None, None, 1]


def test_the_file_goes(tmp_path):
    many = Pieces.of([table(0)], tmp_path, memory=0)
    assert len(list(tmp_path.iterdir())) == 1
    many.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "most"), [(1, 100), (3000, 200), (10**6, 500)])
def test_parts_are_not_joined_to_more_than_was_asked_for(tmp_path, size, most):
    few = Pieces.of((table(k * 100) for k in range(5)), tmp_path)
    parts = list(few.parts(size))
    assert [n for part in parts for n in part.column("n").to_pylist()] == list(range(500))
    assert max(part.num_rows for part in parts) <= max(most, 100)
    assert all(column.num_chunks == 1 for part in parts for column in part.columns)


def test_parts_have_one_schema_and_no_rows_are_one_part(tmp_path):
    few = Pieces.of([pa.table({"n": [1]}), pa.table({"n": [2], "m": ["x"]})], tmp_path)
    assert [part.to_pylist() for part in few.parts(1)] == [[{"n": 1, "m": None}], [{"n": 2, "m": "x"}]]
    assert [part.num_rows for part in Pieces.of([table(0, 0)], tmp_path).parts(1)] == [0]
