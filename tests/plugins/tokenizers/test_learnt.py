"""Tokenizers that are learnt: plain transformers cuts alike, texts come back, and too little text is told."""

from __future__ import annotations

import pytest

from danlu.blocks import special_tokens
from danlu.contracts import Tokenizer
from danlu.core.errors import DataError
from danlu.plugins.sources.synthetic import Synthetic

FAMILIES = ("BERT", "ROBERTA", "GPT2", "LLAMA", "T5")
POEM = ["床前明月光，疑是地上霜。", "举头望明月，低头思故乡。", "海上生明月，天涯共此时。", "明月几时有？把酒问青天。"]
ODD = (
    "Some more of THIS day, BASIL cedar",
    "žebra (2 x)\n\ttabs  and   spaces",
    "明月 and 光",
    "",
    "<mask> [SEP] </s>",
)


def conforming(folder):
    return {"bpe": {"size": 300}, "wordpiece": {"size": 60}}


def texts(rows=200):
    return [row["text"] for batch in Synthetic(size=rows).rows() for row in batch.to_pylist()] + POEM


def learnt(what, family="BERT", rows=None, most=64):
    return Tokenizer.choose(what).learn(rows or texts(), getattr(special_tokens, family), most)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["wordpiece", "bpe", "unigram", "character"])
def test_plain_transformers_cuts_the_same(name, family, tmp_path):
    import transformers

    ours = learnt(name, family)
    ours.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ODD:
        ids = ours.inputs(text)["input_ids"].tolist()
        assert (theirs(text)["input_ids"] or [ours.pad_id]) == ids
        assert theirs.decode(ids, skip_special_tokens=True) == ours.text(ids)
    special = getattr(special_tokens, family)
    assert [ours.special(f"{role}_token") for role in special.roles] == [
        special.tokens.index(token) for token in special.roles.values()
    ]
    assert theirs.pad_token_id == ours.pad_id
    assert theirs.model_max_length == 64


@pytest.mark.parametrize("name", ["bpe", "character"])
def test_a_text_comes_back_as_it_was(name):
    ours = learnt(name, "GPT2", rows=[*texts(), "of\n"])
    for text in (POEM[0], "the bread of  this day\n"):
        assert ours.text(ours.inputs(text)["input_ids"]) == text
    assert learnt("bpe", "GPT2").text(ours.ids("")) == ""


def test_bytes_spell_what_was_never_seen():
    ours = learnt("bpe", "LLAMA")
    text = "ŷ̴̢ 🜂 zqxv\x00"
    assert ours.text(ours.inputs(text)["input_ids"]) == text


def test_a_chinese_character_is_a_word_piece_once():
    ours = learnt("wordpiece")
    names = {ours.token(place) for place in range(ours.size)}
    assert {"明", "月", "的"} - names == {"的"}
    assert "##明" not in names
    assert [ours.token(k) for k in ours.ids("明月")] == ["明", "月"]


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_chinese_characters_that_stand_together_become_one(name):
    ours = learnt(name, rows=POEM * 3)
    assert any(ours.text([place]) == "明月" for place in range(ours.size))


def test_lower_case_is_an_option():
    assert learnt("wordpiece").ids("Bread") == learnt("wordpiece").ids("bread")
    cased = learnt({"wordpiece": {"lowercase": False}})
    assert cased.ids("Bread") != cased.ids("bread")


@pytest.mark.parametrize(("name", "size"), [("wordpiece", 60), ("bpe", 300), ("unigram", 70), ("character", 20)])
def test_a_size_is_kept_to_the_last_id(name, size):
    assert learnt({name: size}).size == size


@pytest.mark.parametrize("name", ["wordpiece", "bpe", "unigram", "character"])
def test_more_ids_than_the_texts_hold_are_refused(name):
    there = learnt(name).size
    assert there < 8000
    with pytest.raises(DataError, match=f"(?s)the texts give {there:,} ids, 30,000 are asked for.*size={there}"):
        learnt({name: 30_000})


def test_too_few_ids_are_refused():
    with pytest.raises(DataError, match="100 ids have no room for a text: 103 are special tokens"):
        learnt({"unigram": 100}, "T5")
    with pytest.raises(DataError, match="200 ids are too few: 5 special tokens and 256 bytes need 261"):
        learnt({"bpe": 200})


@pytest.mark.parametrize("name", ["wordpiece", "bpe", "unigram", "character"])
def test_no_text_at_all(name):
    with pytest.raises(DataError, match="no word to learn pieces from"):
        learnt(name, rows=[""])


@pytest.mark.parametrize("name", ["wordpiece", "bpe", "unigram", "character"])
def test_binary_and_half_characters(name):
    rows = [bytes(range(256)).decode("latin-1") * 40, "a\ud800b " * 9, "\x00" * 500_000, "x" * 1_000_000]
    ours = learnt(name, rows=rows)
    assert len(ours.inputs("\ud800 x")["input_ids"]) <= 64
