import pyarrow as pa

from danlu.blocks.pictures import PICTURE
from danlu.contracts import Columns, Context
from danlu.plugins.operators.drop_empty import DropEmpty

CONTEXT = Context(Columns(("text",), ("label",)))


def test_missing_texts_and_labels_are_dropped_and_told():
    table = pa.table(
        {
            "text": ["a", "", " \t\n", None, "e", "f", "\u3000"],
            "label": ["x", "x", "x", "x", None, "y", "x"],
            "n": range(7),
        }
    )
    kept, counts = DropEmpty().apply(table, CONTEXT)
    assert kept.column("n").to_pylist() == [0, 5]
    assert (counts.rows_in, counts.rows_out) == (7, 2)
    assert counts.by == {"without text": 4, "without label": 1}
    assert counts.why == {1: "no text", 2: "no text", 3: "no text", 4: "no label", 6: "no text"}
    assert counts.samples[0] == ({"text": "", "label": "x"}, None)


def test_numbers_and_pictures():
    cells = [
        {"bytes": b"x", "path": None},
        {"bytes": b"", "path": None},
        {"bytes": None, "path": "a.png"},
        None,
        {"bytes": None, "path": ""},
    ]
    table = pa.table({"text": pa.array(cells, PICTURE), "label": [1, 2, 3, 4, 5]})
    assert DropEmpty().apply(table, CONTEXT)[0].column("label").to_pylist() == [1, 3]
    table = pa.table({"text": [1.0, float("nan"), None], "label": [1, 2, 3]})
    assert DropEmpty().apply(table, CONTEXT)[0].column("label").to_pylist() == [1]


def test_nothing_to_drop():
    table = pa.table({"text": ["a"], "label": [False]})
    kept, counts = DropEmpty().apply(table, CONTEXT)
    assert kept.equals(table)
    assert (counts.samples, counts.by, counts.why) == ([], {}, {})


def test_other_columns_may_be_empty():
    table = pa.table({"text": ["a"], "label": ["x"], "remark": [None]})
    assert DropEmpty().apply(table, CONTEXT)[0].num_rows == 1
    kept, counts = DropEmpty(columns=("remark",)).apply(table, CONTEXT)
    assert (kept.num_rows, counts.by) == (0, {"without remark": 1})


def test_no_more_than_ten_samples():
    table = pa.table({"text": [""] * 50 + ["a"], "label": ["x"] * 51})
    assert len(DropEmpty().apply(table, CONTEXT)[1].samples) == 10


def test_spellings_of_a_missing_value_are_dropped_where_they_are_named():
    table = pa.table({"text": ["a", "null", "c", "d"], "label": ["x", "y", "NaN", "nan"], "n": [0, 1, 2, 3]})
    assert DropEmpty().apply(table, CONTEXT)[0].num_rows == 4
    kept, counts = DropEmpty(also=("NaN", "null")).apply(table, CONTEXT)
    assert kept.column("n").to_pylist() == [0, 3], "spelled as in the data"
    assert counts.by == {"without text": 1, "without label": 1}
    assert DropEmpty(columns=("n", "label"), also=("nan",)).apply(table, CONTEXT)[0].num_rows == 3
