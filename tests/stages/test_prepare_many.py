"""What preparing very many rows holds at once."""

import pyarrow as pa

from danlu.blocks.pieces import Pieces
from danlu.contracts import Columns
from danlu.stages.prepare import _truths


def test_texts_that_are_their_own_truth_are_not_all_held(tmp_path):
    tables = [pa.table({"text": [f"{k} a", f"{k} b"], "label": ["x", "y"]}) for k in range(3)]
    rows = Pieces.of(tables, tmp_path, memory=1)
    assert rows.many
    assert _truths(rows, Columns(("text",), ("text",))).num_rows == 2
    labels = _truths(rows, Columns(("text",), ("label",)))
    assert labels.column("label").to_pylist() == ["x", "y"] * 3
    assert labels.column("text").null_count == 6
