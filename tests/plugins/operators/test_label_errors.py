import numpy as np
import pyarrow as pa
import pytest

from danlu.contracts import Columns, Context
from danlu.plugins.operators.label_errors import LabelErrors
from danlu.plugins.sources.synthetic import Synthetic

CONTEXT = Context(Columns(("text",), ("label",)), "train")


@pytest.fixture(scope="module")
def flipped():
    """Sentences about topics, twelve of 240 under the label of another one, and which rows those are."""
    table = pa.Table.from_batches(Synthetic(kind="text", size=240).rows())
    labels = table.column("label").to_pylist()
    names = sorted(set(labels))
    rows = np.random.default_rng(0).choice(240, 12, replace=False)
    for row in rows:
        labels[row] = names[(names.index(labels[row]) + 1) % len(names)]
    return pa.table({"text": table.column("text"), "label": labels}), set(rows.tolist())


def test_flipped_labels_are_flagged_with_a_reason(flipped):
    table, rows = flipped
    after, counts = LabelErrors(most=0.1).apply(table, CONTEXT)
    assert after.equals(table)
    assert len(set(counts.why) & rows) >= 10
    assert len(counts.why) <= 24
    assert sum(counts.by.values()) == len(counts.why)
    assert "the model says" in next(iter(counts.why.values()))
    assert "of the 5 nearest are" in next(iter(counts.why.values()))
    assert "reason" in counts.samples[0][1]


def test_they_are_dropped_when_asked_and_never_more_than_the_share(flipped):
    table, rows = flipped
    kept, counts = LabelErrors(action="drop", most=0.025).apply(table, CONTEXT)
    assert counts.rows_out == kept.num_rows == 240 - 6
    assert set(counts.why) <= rows


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"text": ["a"] * 30, "label": ["x"] * 30}),
        pa.table({"text": ["a", "b"], "label": ["x", "y"]}),
        pa.table({"text": [1.0] * 30, "label": ["x", "y"] * 15}),
        pa.table({"text": ["a"] * 30, "label": [["x"]] * 30}),
        pa.table({"text": ["a"] * 30}),
    ],
)
def test_what_cannot_be_judged_is_told(table):
    after, counts = LabelErrors().apply(table, CONTEXT)
    assert after.equals(table)
    assert counts.notes[0].startswith("nothing was judged")
