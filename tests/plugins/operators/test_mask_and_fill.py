import functools
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from pyarrow import parquet

import danlu
from augmenting import CONTEXT, pieces
from danlu.blocks.filling import Filler, Gapped
from danlu.contracts import Context
from danlu.core.errors import DataError
from danlu.plugins.operators.mask_and_fill import MaskAndFill

_KEPT = TemporaryDirectory()
PLACES, GOODS = ("near", "far", "old", "new"), ("tea", "salt", "silk", "rice")


def texts(count):
    """Two words of every text are one of four, as often as the other three; the rest is always the same."""
    return [f"ships from {PLACES[k % 4]} harbours bring {GOODS[k // 4 % 4]} to us 茶" for k in range(count)]


def conforming(folder):
    return {"mask_and_fill": {"model": str(taught())}}


@functools.cache
def taught():
    """A small masked language model that has learnt what stands where in those texts."""
    folder = Path(_KEPT.name)
    parquet.write_table(pa.table({"text": texts(160)}), folder / "texts.parquet")
    steps = {
        "data": {
            "do": "prepare",
            "source": {"parquet": str(folder / "texts.parquet")},
            "task": {"masked_lm": {"length": 12}},
            "operators": [],
        },
        "own": {
            "do": "pretrain",
            "backbone": {"bert": {"size": "tiny", "positions": 32}},
            "precision": "fp32",
            "lr": 3e-3,
            "batch_size": 16,
            "steps": 120,
            "evaluate_every": 120,
        },
    }
    return danlu.run({"name": "own", "steps": steps}, store=folder / "store", trackers=[])["own"].path


@pytest.fixture(scope="module")
def model():
    return taught()


def given(count=16):
    return pa.table({"text": texts(count), "label": ["a", "b"] * (count // 2), "n": range(count)})


def test_a_gap_is_filled_with_what_stood_there_in_other_texts(model):
    text = "Ships from far harbours bring Tea to us 茶"
    one = Gapped(text, ((11, 14), (30, 33)))
    [place, goods] = Filler(model, 3).likely([one])[one]
    assert set(place.words) == {"near", "old", "new"}
    assert set(goods.words) == {"salt", "silk", "rice"}
    assert goods.shares.sum() == pytest.approx(1)


def test_words_are_replaced_and_the_rest_stays(model):
    before = given()
    after, counts = MaskAndFill(model=str(model), most=3, copies=2).apply(before, CONTEXT)
    assert (counts.rows_in, counts.rows_out, counts.changed) == (16, 48, 32)
    assert counts.by == {"filled": 32}
    assert after.column("label").to_pylist() == [label for label in before["label"].to_pylist() for _ in range(3)]
    assert after.take(list(range(0, 48, 3))).equals(before)
    old, new = before["text"].to_pylist(), after["text"].to_pylist()
    apart = [
        [k for k, (a, b) in enumerate(zip(old[n].split(), new[3 * n + copy].split(), strict=True)) if a != b]
        for n in range(16)
        for copy in (1, 2)
    ]
    assert {len(found) for found in apart} == {1}, "of nine words one is a share of 0.15"
    assert {found[0] for found in apart} > {2, 5}, "always the same words are replaced"
    assert counts.samples[0] == ({"text": old[0]}, {"text": new[1]})


def test_what_is_likely_is_drawn_more_often(model):
    filler, text = Filler(model, 10), "ships from far harbours bring tea to us 茶"
    [goods] = filler.likely([one := Gapped(text, ((30, 33),))])[one]
    assert set(goods.words[:3]) == {"salt", "silk", "rice"}
    assert goods.shares[:3].sum() > 0.9
    rows = pa.table({"text": [text] * 300, "label": ["a"] * 300, "n": range(300)})
    made, _ = MaskAndFill(model=str(model), rate=1.0, copies=0).apply(rows, CONTEXT)
    drawn = Counter(new.split()[5] for new in made["text"].to_pylist())
    assert len(drawn) > 2
    assert "tea" not in drawn


def test_the_seed_decides_and_neither_order_nor_pieces(model):
    def made(table, seed=3):
        context = Context(CONTEXT.columns, "train", seed)
        return MaskAndFill(model=str(model), rate=0.5).apply(table, context)[0]

    before, whole = given(), made(given())
    assert made(before).equals(whole)
    assert sorted(made(before.take(list(range(15, -1, -1))))["text"].to_pylist()) == sorted(whole["text"].to_pylist())
    assert pieces(MaskAndFill(model=str(model), rate=0.5), before, 5).equals(whole.combine_chunks())
    assert not made(before, seed=4).equals(whole)


def test_capitals_gaps_and_long_texts(model):
    odd = ["BRING TEA", "bring [MASK]", "", "123 !", "tea " * 60]
    table = pa.table({"text": odd, "label": ["a"] * 5, "n": range(5)})
    made, counts = MaskAndFill(model=str(model), rate=1.0, copies=0).apply(table, CONTEXT)
    first, second, third, fourth, last = made["text"].to_pylist()
    assert first.isupper()
    assert first not in ("BRING TEA", "")
    assert [second, third, fourth] == odd[1:4]
    assert last.split()[-1] == "tea", "the model can't see so far"
    assert last.split()[0] != "tea"
    assert counts.notes == ["3 of the changes asked for could not be made: too little to change"]


def test_a_chinese_character_is_no_gap_for_a_word(model):
    text = "ships from far harbours bring tea to us 茶"
    one = Gapped(text, ((40, 41),))
    [found] = (filler := Filler(model, 3)).likely([one])[one]
    assert found.words == (), "there is no other character in the vocabulary"
    assert (filler.knows("茶"), filler.knows("tea")) == (False, True)


def test_a_model_of_another_kind_is_refused(tmp_path, moods_run):
    from danlu.registry.store import Registry

    registry = Registry(moods_run)
    folder = registry.open(registry.resolve("moods@2"))
    with pytest.raises(DataError, match="a model of the task text_classification fills no gaps"):
        MaskAndFill(model=str(folder)).apply(given(), CONTEXT)
    with pytest.raises(DataError, match=r"forms\.json"):
        MaskAndFill(model=str(tmp_path)).apply(given(), CONTEXT)
