"""Ways of cutting: by group, by time, into folds, and like an earlier data set."""

import datetime

import numpy as np
import pytest

from danlu.blocks import pieces
from danlu.blocks.dataset import DataSet
from danlu.contracts import Counts, Operator
from danlu.core.errors import DataError
from danlu.stages.prepare import Prepare, Split

TASK = {"text_classification": {"text": "text", "label": "label"}}
SPLITS = ("train", "validation", "test")


class Echo(Operator):
    """Makes every second training text one that may be in the test set."""

    splits = ("train",)

    def apply(self, table, context):
        texts = [f"text number {k % 200}" if k % 2 else text for k, text in enumerate(table.column("text").to_pylist())]
        before = table.column("text").to_pylist()
        changed = sum(a != b for a, b in zip(texts, before))
        return table.set_column(0, "text", [texts]), Counts(
            len(texts), len(texts), changed=changed, samples=[(before[1], texts[1])]
        )


def rows(n=200, start=0, **columns):
    made = [{"text": f"text number {k}", "label": "ab"[k % 2]} for k in range(start, start + n)]
    return [{**row, **{name: of(k) for name, of in columns.items()}} for k, row in enumerate(made, start)]


def where(artifact, column="text"):
    """Value of a column → the splits it is in."""
    found = {}
    for split in SPLITS:
        for row in DataSet.open(artifact.path).rows(split):
            found.setdefault(row[column], set()).add(split)
    return found


def test_all_rows_of_a_group_are_in_one_split(run, given):
    made = run(
        Prepare(source=given(rows(patient=lambda k: k // 4)), task=TASK, split={"by": "group", "column": "patient"})
    )
    assert all(len(splits) == 1 for splits in where(made, "patient").values())
    assert {split for splits in where(made, "patient").values() for split in splits} == set(SPLITS)


def test_groups_that_share_an_input_stay_together(run, given):
    linked = [*rows(patient=lambda k: k // 4), {"text": "TEXT number 0", "label": "a", "patient": 49}]
    made = run(Prepare(source=given(linked), task=TASK, operators=(), split={"by": "group", "column": "patient"}))
    of = where(made, "patient")
    assert of[0] == of[49]
    assert all(len(splits) == 1 for splits in of.values())


@pytest.mark.parametrize(
    "day", [lambda d: d.isoformat(), lambda d: d, lambda d: d.toordinal()], ids=["text", "date", "number"]
)
def test_the_latest_rows_are_the_test_set(run, given, day):
    first = datetime.date(2026, 1, 1)
    made = run(Prepare(
        source=given(rows(when=lambda k: day(first + datetime.timedelta(days=(k * 37) % 200)))), task=TASK,
        split={"by": "time", "column": "when"},
    ))  # fmt: skip
    when = {split: [row["when"] for row in DataSet.open(made.path).rows(split)] for split in SPLITS}
    assert max(when["train"]) < min(when["validation"])
    assert max(when["validation"]) < min(when["test"])
    assert [len(when[split]) for split in SPLITS] == [140, 20, 40]


def test_times_that_are_none_are_told(run, given):
    with pytest.raises(DataError, match=r"the column 'when' holds no times.*\n.*write them as"):
        run(Prepare(source=given(rows(when=lambda k: f"day {k}")), task=TASK, split={"by": "time", "column": "when"}))
    with pytest.raises(DataError, match="there is no column 'day' to split by; the columns are: text, label"):
        run(Prepare(source=given(rows()), task=TASK, split={"by": "time", "column": "day"}))


def test_every_row_is_tested_in_one_fold(run, given):
    tested = []
    for fold in (1, 2, 3):
        made = run(Prepare(source=given(rows()), task=TASK, split={"by": "fold", "folds": 3, "fold": fold}))
        found = DataSet.open(made.path)
        tested += [row["text"] for row in found.rows("test")]
        labels = [row["label"] for row in found.rows("test")]
        assert abs(labels.count("a") - labels.count("b")) <= 2, "folds are stratified"
        assert 15 <= found.info["rows"]["validation"] <= 25
    assert sorted(tested) == sorted(row["text"] for row in rows())


def test_texts_of_one_pattern_are_told_instead_of_put_into_one_split(run, given):
    with pytest.raises(DataError, match=r"texts hang together.*\n.*raise split.near above 0.5"):
        run(Prepare(source=given(rows()), task=TASK, split={"near": 0.5}))


def test_a_training_row_that_an_operator_made_equal_to_a_test_row_goes(run, given):
    made = run(Prepare(source=given(rows()), task=TASK, operators=(Echo(),)))
    [told] = [step for step in made.json("dataset.json")["operators"] if step["name"] == "keep_apart on train"]
    assert told["rows_out"] < told["rows_in"]
    assert all(len(splits) == 1 for splits in where(made).values())


def test_personal_data_is_blacked_out_in_samples(run, given):
    spoken = [*rows(), {"text": "write  to jane.doe@example.com", "label": "a"}]
    made = run(Prepare(source=given(spoken), task=TASK))
    text = (made.path / "dataset.json").read_text()
    assert "jane" not in text
    assert "example.com" not in text
    assert "write  to ████" in text


def test_rows_stay_where_they_were_in_an_earlier_data_set(run, given):
    before = run(Prepare(source=given(rows()), task=TASK))
    plain = run(Prepare(source=given(rows(300)), task=TASK))
    after = run(Prepare(source=given(rows(300)), task=TASK, split={"like": str(before.path)}))
    old, moved, kept = where(before), where(plain), where(after)
    assert any(moved[text] != splits for text, splits in old.items()), "a stratified cut of more rows moves some"
    assert all(kept[text] == splits for text, splits in old.items())
    new = [next(iter(splits)) for text, splits in kept.items() if text not in old]
    assert 5 <= new.count("test") <= 40


def test_a_group_goes_with_its_rows_that_were_there(run, given):
    by = {"by": "group", "column": "patient"}
    before = run(Prepare(source=given(rows(patient=lambda k: k // 4)), task=TASK, split=by))
    more = [*rows(patient=lambda k: k // 4), *rows(100, start=200, patient=lambda k: k % 50)]
    after = run(Prepare(source=given(more), task=TASK, split={**by, "like": str(before.path)}))
    assert where(after, "patient") == where(before, "patient")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"by": "group"}, "needs the column"),
        ({"by": "fold", "folds": 3, "fold": 4}, "there is no fold 4 of 3"),
    ],
)
def test_options_that_do_not_go_together(options, match):
    with pytest.raises(ValueError, match=match):
        Split(**options)


@pytest.mark.parametrize("by", [{"by": "stratified"}, {"by": "random"}, {"by": "group", "column": "patient"}])
def test_rows_too_many_for_memory_are_cut_and_kept_the_same(run, given, monkeypatch, by):
    messy = [*rows(patient=lambda k: k // 4), {"text": " text  number 3 ", "label": "b", "patient": 0}]
    few = run(Prepare(source=given(messy), task=TASK, split=by))
    monkeypatch.setattr(pieces.Pieces.__init__, "__kwdefaults__", {"memory": 0})
    monkeypatch.setattr(pieces, "PIECE", 500)
    many = run(Prepare(source=given(messy), task=TASK, split=by))
    for name in ("digests", "digest", "rows", "operators", "notes"):
        assert few.json("dataset.json")[name] == many.json("dataset.json")[name], name
    for split in SPLITS:
        one, other = (DataSet.open(made.path).numbered(split) for made in (few, many))
        assert one.equals(other)
    assert np.array_equal(
        DataSet.open(few.path).numbered("train").column("__row__"),
        DataSet.open(many.path).numbered("train").column("__row__"),
    )
