import pyarrow as pa
import pytest

from augmenting import CONTEXT, table
from danlu.contracts import Columns, Context
from danlu.core.errors import DataError
from danlu.plugins.operators.oversample import Oversample
from danlu.plugins.operators.undersample import Undersample

LABELS = ["common"] * 60 + ["rare"] * 7 + ["middle"] * 20


def given(labels=LABELS):
    texts = [f"text {k}" for k in range(len(labels))]
    return pa.table({"text": texts, "label": pa.array(labels, pa.string()), "n": range(len(labels))})


def counts_of(made):
    return {told["values"]: told["counts"] for told in made.column("label").value_counts().to_pylist()}


def test_oversampling_makes_labels_equal_and_each_row_as_often_as_the_others():
    made, counts = Oversample().apply(given(), CONTEXT)
    assert counts_of(made) == {"common": 60, "middle": 60, "rare": 60}
    assert (counts.rows_in, counts.rows_out, counts.changed) == (87, 180, 93)
    assert counts.by == {"middle": 40, "rare": 53}
    times = [made.column("n").to_pylist().count(n) for n in range(60, 67)]
    assert sorted(times) == [8, 8, 8, 9, 9, 9, 9]
    assert counts.notes == [
        "the rarest label 'rare' has 7 of 87 rows (8.0%), the commonest 'common' has 60",
        "copies added: 'middle' 40, 'rare' 53",
    ]
    assert len(counts.samples) == 10


def test_oversampling_to_a_ratio():
    made, _ = Oversample(ratio=0.3).apply(given(), CONTEXT)
    assert counts_of(made) == {"common": 60, "middle": 20, "rare": 18}


def test_undersampling_makes_labels_equal_or_keeps_a_ratio():
    made, counts = Undersample().apply(given(), CONTEXT)
    assert counts_of(made) == {"common": 7, "middle": 7, "rare": 7}
    assert (counts.rows_in, counts.rows_out, counts.changed, counts.by) == (87, 21, 0, {"common": 53, "middle": 13})
    assert counts.notes[1] == "rows left out: 'common' 53, 'middle' 13"
    assert len(counts.why) == 66
    made, _ = Undersample(most=3).apply(given(), CONTEXT)
    assert counts_of(made) == {"common": 3, "middle": 3, "rare": 3}
    made, _ = Undersample(ratio=0.1, most=10).apply(given(), CONTEXT)
    assert counts_of(made) == {"common": 10, "middle": 10, "rare": 7}
    made, _ = Undersample(ratio=0.5).apply(given(), CONTEXT)
    assert counts_of(made) == {"common": 14, "middle": 14, "rare": 7}


@pytest.mark.parametrize("operator", [Oversample, Undersample])
def test_the_order_of_the_rows_changes_nothing_and_the_seed_does(operator):
    def drawn(table, seed=3):
        return sorted(operator().apply(table, Context(CONTEXT.columns, "train", seed))[0].column("n").to_pylist())

    backward = given().take(list(range(86, -1, -1)))
    assert drawn(given()) == drawn(backward)
    assert drawn(given()) != drawn(given(), seed=4)


@pytest.mark.parametrize("operator", [Oversample, Undersample])
def test_what_is_balanced_stays_and_rows_without_a_label_too(operator):
    made, counts = operator().apply(given(["a", "b", None, "a", "b"]), CONTEXT)
    assert (made.num_rows, counts.by) == (5, {})
    assert counts.notes[1] == "the labels are as common as was asked for, so nothing was done"
    made, counts = operator().apply(given([None, None]), CONTEXT)
    assert (made.num_rows, counts.notes) == (2, ["no row has a label, so nothing was balanced"])


@pytest.mark.parametrize("operator", [Oversample, Undersample])
def test_several_labels_a_row_are_refused(operator):
    lists = pa.table({"text": ["a"], "label": [["x", "y"]]})
    with pytest.raises(DataError, match="one column with one label a row"):
        operator().apply(lists, CONTEXT)
    with pytest.raises(DataError, match="one column with one label a row"):
        operator().apply(table(3), Context(Columns(("text",), ("label", "n"))))
