from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.blocks import splits
from danlu.blocks.pictures import PICTURE
from danlu.blocks.splits import rarest, row_keys, split
from danlu.core.errors import DataError, RecipeError

PINNED_TRAIN = 28
PINNED_TEST = [f"text number {i}" for i in (2, 33, 35, 36, 38, 39, 7)]
SHARES = {"validation": 0.1, "test": 0.2}


def texts(n, start=0):
    return pa.table(
        {"text": [f"text number {i}" for i in range(start, start + n)], "label": ["ab"[i % 4 == 0] for i in range(n)]}
    )


def name_of(table, **options):
    found = split(table, ["text"], **{**SHARES, **options})
    return {table.column("text")[int(row)].as_py(): name for name, rows in found.items() for row in rows}


def test_every_row_is_in_one_split_and_in_order():
    rows = split(texts(1000), ["text"], **SHARES)
    assert list(rows) == ["train", "validation", "test"]
    assert sorted(np.concatenate(list(rows.values()))) == list(range(1000))
    assert all((np.diff(part) > 0).all() for part in rows.values())


def test_shares_are_met_on_average():
    rows = split(texts(20_000), ["text"], **SHARES)
    deviation = (0.2 * 0.8 / 20_000) ** 0.5
    assert abs(len(rows["test"]) / 20_000 - 0.2) < 4 * deviation
    assert abs(len(rows["validation"]) / 20_000 - 0.1) < 4 * deviation


def test_rows_added_later_move_none():
    before, after = name_of(texts(2000)), name_of(pa.concat_tables([texts(500, 5000), texts(2000), texts(700, 9000)]))
    assert before == {text: after[text] for text in before}


def test_a_wider_validation_takes_no_row_from_test():
    test = {text for text, name in name_of(texts(1000)).items() if name == "test"}
    assert test == {text for text, name in name_of(texts(1000), validation=0.4).items() if name == "test"}


def test_the_order_of_rows_does_not_matter():
    table = texts(1000)
    shuffled = table.take(pa.array(np.random.default_rng(0).permutation(1000)))
    assert name_of(table) == name_of(shuffled)
    labels = dict(zip(table.column("text").to_pylist(), table.column("label").to_pylist()))
    stratified = name_of(table, stratify=table.column("label").to_pylist())
    assert stratified == name_of(shuffled, stratify=[labels[text] for text in shuffled.column("text").to_pylist()])


def test_another_seed_gives_another_split_and_the_same_one_the_same():
    assert name_of(texts(500), seed=1) == name_of(texts(500), seed=1)
    assert name_of(texts(500), seed=1) != name_of(texts(500), seed=2)
    assert name_of(texts(500), seed=-1) != name_of(texts(500), seed=1)


def test_the_split_of_these_rows_never_changes():
    """A new version of Danlu must not move rows between train and test."""
    assert [name for _, name in sorted(name_of(texts(40), seed=7).items())].count("train") == PINNED_TRAIN
    assert sorted(text for text, name in name_of(texts(40), seed=7).items() if name == "test") == PINNED_TEST


def test_stratified_shares_are_exact_for_every_label():
    table = texts(1000)
    labels = np.array(table.column("label").to_pylist())
    rows = split(table, ["text"], **SHARES, stratify=list(labels))
    for label in "ab":
        total = (labels == label).sum()
        assert (labels[rows["test"]] == label).sum() == round(0.2 * total)
        assert (labels[rows["validation"]] == label).sum() == round(0.3 * total) - round(0.2 * total)


@pytest.mark.parametrize("stratified", [False, True])
def test_what_says_the_same_stays_together(stratified):
    base = texts(500)
    shout = [f"  TEXT  Number {i}\u3000" for i in range(500)]
    table = pa.concat_tables([base, pa.table({"text": shout, "label": base.column("label")})])
    found = split(table, ["text"], **SHARES, stratify=table.column("label").to_pylist() if stratified else None)
    where = {int(row): name for name, rows in found.items() for row in rows}
    assert all(where[row] == where[row + 500] for row in range(500))
    assert row_keys(table, ["text"])[:500] == row_keys(table, ["text"])[500:]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=3), min_size=30, max_size=80), st.booleans())
def test_no_key_is_ever_in_two_splits(cells, stratified):
    table = pa.table({"text": cells})
    try:
        found = split(
            table, ["text"], validation=0.2, test=0.2, stratify=[len(c) for c in cells] if stratified else None
        )
    except DataError:
        return
    keys = row_keys(table, ["text"])
    seen = [{keys[row] for row in rows} for rows in found.values()]
    assert sum(map(len, seen)) == len(set(keys))


@pytest.mark.parametrize(
    "shares", [{"validation": 0.5, "test": 0.5}, {"validation": -0.1, "test": 0.2}, {"validation": 0, "test": 1}]
)
def test_impossible_shares(shares):
    with pytest.raises(RecipeError, match="leave nothing to train on"):
        split(texts(10), ["text"], **shares)


def test_too_few_rows():
    with pytest.raises(DataError, match=r"3 different rows are too few: no row would be in (train|validation|test)"):
        split(texts(3), ["text"], **SHARES)
    assert len(split(texts(3), ["text"], validation=0, test=0)["train"]) == 3


def test_keys_tell_values_and_columns_apart():
    table = pa.table({"a": ["x", "", None, "x y", "x"], "b": ["y", "", "", "", "Y"]})
    assert len(set(row_keys(table, ["a", "b"], exact=True))) == 5
    assert len(set(row_keys(table, ["a", "b"]))) == 4
    assert len(set(row_keys(pa.table({"a": ["ab", "a"], "b": ["c", "bc"]}), ["a", "b"]))) == 2


def test_keys_of_pictures_and_numbers():
    cells = [
        {"bytes": b"1", "path": None},
        {"bytes": b"1", "path": "x"},
        {"bytes": None, "path": "x"},
        {"bytes": None, "path": None},
    ]
    first, second, third, fourth = row_keys(pa.table({"image": pa.array(cells, PICTURE)}), ["image"])
    assert first == second
    assert len({first, third, fourth}) == 3
    assert len(set(row_keys(pa.table({"n": [1, 2, 2, None]}), ["n"]))) == 3


def test_a_row_of_several_labels_counts_for_its_rarest():
    assert rarest([["a", "b"], ["a"], [], ["c", "b"], ["a", "c"]]) == ["b", "a", "", "b", "c"]


@pytest.mark.parametrize(
    "cells",
    [
        pa.array(["warm", "", None, "h\u00f4tel \u9152\u5e97"]),
        pa.array(["x", None, "y"], pa.large_string()),
        pa.array([0, -5, 2**62, None]),
        pa.array([7, 255, None], pa.uint8()),
    ],
)
@pytest.mark.parametrize("at_once", [splits._AT_ONCE, 1])
def test_a_column_at_once_has_the_keys_of_its_cells(cells, at_once, monkeypatch):
    monkeypatch.setattr(splits, "_AT_ONCE", at_once)
    table = pa.table({"a": cells, "n": pa.nulls(len(cells), pa.float32())})
    framed = [b"0 0 " if cell is None else b"1 %d %b" % (len(raw), raw) for cell, raw in _raw(cells.to_pylist())]
    expected = [blake2b(frame + b"0 0 ", digest_size=16).digest() for frame in framed]
    assert row_keys(table.slice(1), ["a", "n"], exact=True) == expected[1:]
    assert row_keys(table, ["a", "n"], exact=True) == expected


def _raw(cells):
    return [(cell, str(cell).encode()) for cell in cells]


@pytest.mark.parametrize("exact", [True, False])
def test_short_texts_have_the_keys_that_each_has_by_itself(exact, monkeypatch):
    labels = pa.chunked_array([["good", "bad", None, "", "good"], ["Good ", "bad", "x" * 40, None]])
    keys = row_keys(pa.table({"label": labels}), ["label"], exact=exact)
    assert keys == [row_keys(pa.table({"label": [one]}), ["label"], exact=exact)[0] for one in labels.to_pylist()]
    monkeypatch.setattr(splits, "_SHORT", 0)
    assert keys == row_keys(pa.table({"label": labels}), ["label"], exact=exact)
