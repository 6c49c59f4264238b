import pyarrow as pa
import pytest

from danlu.contracts import Columns, Context
from danlu.core.errors import DataError
from danlu.plugins.operators.normalize import Normalize

CONTEXT = Context(Columns(("text",), ("label",)))


def rewrite(text, **options):
    table, _ = Normalize(**options).apply(pa.table({"text": [text]}), CONTEXT)
    return table.column("text")[0].as_py()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Ａ１，ﬁne ①", "A1,fine 1"),
        ("a\u00a0b\tc\r\nd\u3000e\u2028f\x85g", "a b c d e f g"),
        ("  both   ends \n", "both ends"),
        ("x\x00\x07y\x9f", "xy"),
        ("\ufeffzero\u200bwidth soft\u00adhyphen", "zerowidth softhyphen"),
        ("\u202eevil\u202c \u2066x\u2069", "evil x"),
        ("👩\u200d👩\u200d👧 می\u200cخواهم", "👩\u200d👩\u200d👧 می\u200cخواهم"),
        ("e\u0301", "é"),
        ("这家酒店，很好！", "这家酒店,很好!"),
        ("", ""),
        (None, None),
        ("plain text", "plain text"),
    ],
)
def test_one_spelling(before, after):
    assert rewrite(before) == after
    assert rewrite(after) == after


def test_each_part_can_be_left_out():
    assert rewrite("Ａ e\u0301", form="NFC") == "Ａ é"
    assert rewrite("Ａ e\u0301", form="none") == "Ａ e\u0301"
    assert rewrite("a\x07 b", control=False) == "a\x07 b"
    assert rewrite(" a \n b ", whitespace=False) == " a \n b "


def test_what_was_changed_is_counted_and_shown():
    table = pa.table(
        {"text": pa.chunked_array([["a", " b "], [None, *[f"c  {i}" for i in range(20)]]]), "label": ["x "] * 23}
    )
    after, counts = Normalize().apply(table, CONTEXT)
    assert (counts.rows_in, counts.rows_out, counts.changed) == (23, 23, 21)
    assert counts.samples[:2] == [(" b ", "b"), ("c  0", "c 0")]
    assert len(counts.samples) == 10
    assert after.column("label").to_pylist() == ["x "] * 23
    assert after.column("text").to_pylist()[:4] == ["a", "b", None, "c 0"]


def test_a_row_changed_in_two_columns_counts_once():
    table = pa.table({"a": [" x", "y", " z", "w"], "b": ["x", " y", " z", "w"]})
    _, counts = Normalize(columns=("a", "b")).apply(table, CONTEXT)
    assert (counts.changed, len(counts.samples)) == (3, 4)


def test_pictures_and_numbers_are_left_alone():
    table = pa.table({"text": [1, 2]})
    after, counts = Normalize().apply(table, CONTEXT)
    assert after.equals(table)
    assert counts.notes == ["the column text holds no text and was left alone"]


def test_no_rows():
    after, counts = Normalize().apply(pa.table({"text": pa.array([], pa.string())}), CONTEXT)
    assert (after.num_rows, counts.changed) == (0, 0)


def test_a_missing_column_lists_those_there_are():
    with pytest.raises(DataError, match=r"no column 'body'; the columns are: text\n.*normalize\.columns"):
        Normalize(columns=("body",)).apply(pa.table({"text": ["a"]}), CONTEXT)


def test_long_texts_are_cut_in_samples():
    _, counts = Normalize().apply(pa.table({"text": [" " + "x" * 10_000]}), CONTEXT)
    assert all(len(side) <= 501 for side in counts.samples[0])
