"""Every row that an operator dropped, changed or copied is written down; one that counts wrongly is told."""

import pyarrow as pa
import pytest

from danlu.blocks import journal
from danlu.blocks.journal import ROW, Journal, entries, numbered, numbers
from danlu.blocks.pictures import PICTURE
from danlu.contracts import Counts
from danlu.core.errors import DataError

BEFORE = numbered(pa.table({"text": ["a", "b", None, "d"], "n": [1.0, float("nan"), 3.0, 4.0]}), 10)


def noted(folder, after, counts, before=BEFORE):
    with Journal(folder) as made:
        made.note("op", before, after, counts)
    return {row: [entry["what"] for entry in entries(folder, row)] for row in range(10, 14)}


def test_rows_are_numbered_as_they_come():
    assert numbers(BEFORE).tolist() == [10, 11, 12, 13]


def test_what_is_untouched_has_no_entry(tmp_path):
    assert noted(tmp_path, BEFORE, Counts(4, 4)) == {10: [], 11: [], 12: [], 13: []}


def test_dropped_changed_and_copied(tmp_path):
    after = BEFORE.take([0, 1, 3, 3]).set_column(0, "text", [["a", "B", "d", "e"]])
    found = noted(tmp_path, after, Counts(4, 4, changed=2, why={2: "it is empty"}))
    assert found == {10: [], 11: ["changed"], 12: ["dropped"], 13: ["copied"]}
    assert entries(tmp_path, 12) == [{"step": "op", "what": "dropped", "why": "it is empty"}]


@pytest.mark.parametrize("rows", [[0, 1, 3], [3, 1, 0]], ids=["in their order", "in another"])
def test_rows_are_compared_a_few_at_a_time_wherever_they_stand(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(journal, "_AT_ONCE", 1)
    after = BEFORE.take(rows)
    after = after.set_column(0, "text", [[f"{text}!" if text == "d" else text for text in after["text"].to_pylist()]])
    found = noted(tmp_path, pa.concat_tables([after.slice(0, 1), after.slice(1)]), Counts(4, 3, changed=1))
    assert found == {10: [], 11: [], 12: ["dropped"], 13: ["changed"]}


def test_a_value_that_is_filled_in_is_a_change(tmp_path):
    after = BEFORE.set_column(0, "text", [["a", "b", "c", "d"]])
    assert noted(tmp_path, after, Counts(4, 4, changed=1))[12] == ["changed"]


def test_pictures_are_compared_by_their_bytes(tmp_path):
    cells = [[{"bytes": b"x", "path": None}, {"bytes": content, "path": None}] for content in (b"y", b"z")]
    before, after = (numbered(pa.table({"image": pa.array(one, PICTURE)}), 10) for one in cells)
    assert noted(tmp_path, after, Counts(2, 2, changed=1), before) == {10: [], 11: ["changed"], 12: [], 13: []}


@pytest.mark.parametrize("counts", [Counts(4, 4), Counts(4, 3), Counts(3, 4, changed=1)])
def test_an_operator_that_counts_wrongly_is_told(tmp_path, counts):
    after = BEFORE.set_column(0, "text", [["a", "B", None, "d"]])
    with pytest.raises(DataError, match=r"the operator op counted .*; it had 4 rows in, 4 out, 1 changed"):
        noted(tmp_path, after, counts)


def test_an_operator_that_loses_the_numbers_is_told(tmp_path):
    with pytest.raises(DataError, match="without the column __row__"):
        noted(tmp_path, BEFORE.drop_columns([ROW]), Counts(4, 4))
