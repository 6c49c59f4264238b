import pyarrow as pa
import pytest

from danlu.blocks.pictures import PICTURE
from danlu.contracts import Columns, Context
from danlu.core import assets
from danlu.core.errors import DataError
from danlu.plugins.operators.drop_duplicates import DropDuplicates
from danlu.plugins.sources.asset import Asset

CONTEXT = Context(Columns(("text",), ("label",)))


def test_the_first_stays():
    table = pa.table({"text": ["a", "b", "a", "A", "b"], "label": ["x", "y", "x", "x", "y"], "n": range(5)})
    kept, counts = DropDuplicates().apply(table, CONTEXT)
    assert kept.column("n").to_pylist() == [0, 1, 3]
    assert (counts.rows_in, counts.rows_out, counts.notes) == (5, 3, [])
    assert counts.samples == [({"text": "a"}, None), ({"text": "b"}, None)]


def test_two_labels_for_one_text_are_told():
    table = pa.table({"text": ["a", "a", "b", "b", "c", "c"], "label": ["x", "y", "x", "x", "y", None]})
    kept, counts = DropDuplicates().apply(table, CONTEXT)
    assert kept.column("label").to_pylist() == ["x", "x", "y"]
    assert counts.notes == ["2 inputs stand under more than one label; the first label was kept"]


def test_columns_of_ones_own():
    table = pa.table({"text": ["a", "a"], "label": ["x", "y"]})
    kept, counts = DropDuplicates(columns=("text", "label")).apply(table, CONTEXT)
    assert (kept.num_rows, counts.notes) == (2, [])
    with pytest.raises(DataError, match="no column 'body'"):
        DropDuplicates(columns=("body",)).apply(table, CONTEXT)


def test_pictures():
    cells = [{"bytes": b"1", "path": None}, {"bytes": b"2", "path": None}, {"bytes": b"1", "path": "x"}]
    table = pa.table({"text": pa.array(cells, PICTURE), "label": ["a", "a", "a"]})
    kept, counts = DropDuplicates().apply(table, CONTEXT)
    assert kept.num_rows == 2
    assert counts.samples == [({"text": {"bytes": "1 bytes", "path": "x"}}, None)]


def test_no_rows():
    kept, _ = DropDuplicates().apply(
        pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())}), CONTEXT
    )
    assert kept.num_rows == 0


def test_half_of_the_chinese_reviews_go():
    if not assets.is_here(assets.find("chinese-reviews")):
        pytest.skip("the asset chinese-reviews is not here: danlu assets get chinese-reviews")
    table = pa.Table.from_batches(Asset(asset="chinese-reviews").rows())
    kept, counts = DropDuplicates().apply(table, CONTEXT)
    assert (table.num_rows, kept.num_rows) == (35_123, 17_410)
    assert counts.notes[0].startswith("47 inputs")
