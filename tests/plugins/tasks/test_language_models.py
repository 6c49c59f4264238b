"""Masked and causal language models: what is hidden and asked, how texts are packed, filled and gone on with."""

import numpy as np
import pyarrow as pa
import pytest

from danlu.blocks import masking
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.metrics.bits_per_character import BitsPerCharacter
from danlu.plugins.metrics.perplexity import Perplexity
from danlu.plugins.tasks.causal_lm import CausalLm
from danlu.plugins.tasks.masked_lm import MaskedLm
from danlu.testing.partners import Trial
from danlu.testing.reader import Reader


@pytest.fixture(scope="module")
def filler():
    return Trial.of(MaskedLm(length=16), Reader()).fit(steps=200)


@pytest.fixture(scope="module")
def writer():
    return Trial.of(CausalLm(length=32, temperature=0.0, most=20), Reader()).fit(steps=200)


# ---- masked ----------------------------------------------------------------------------------------------------------


def test_gaps_are_filled(filler):
    [answer] = filler.predictor()(["ships from far [MASK] bring tea [MASK] salt and silk"])
    assert [gap[0]["token"] for gap in answer["gaps"]] == ["harbours", "pepper"]
    assert answer["text"] == "ships from far harbours bring tea pepper salt and silk"
    assert all(len(gap) == 5 for gap in answer["gaps"])
    shares = [one["probability"] for one in answer["gaps"][0]]
    assert shares == sorted(shares, reverse=True)
    assert 0.5 < shares[0] <= 1


def test_a_text_without_a_gap_says_how_one_is_written(filler):
    with pytest.raises(DataError, match=r"there is no gap to fill: put \[MASK\] where one is"):
        filler.predictor()(["ships from far harbours"])


def test_what_is_learnt_is_less_surprising(filler):
    known, strange = filler.predictor()(
        [{"how_likely": masking.SAMPLE[2]}, {"how_likely": " ".join(reversed(masking.SAMPLE[2].split()))}]
    )
    assert known["tokens"] == strange["tokens"] > 0
    assert known["characters"] == len(masking.SAMPLE[2])
    assert known["nll"] / known["tokens"] < 1 < strange["nll"] / strange["tokens"]


def test_training_hides_other_tokens_each_time(filler):
    task, processor = filler.task, filler.processor
    [example] = task.examples({"text": masking.SAMPLE[0]}, processor)
    [ids] = processor.cut([masking.SAMPLE[0]])
    seen = set()
    for seed in range(20):
        varied = task.vary(example, np.random.default_rng(seed))
        whole = np.array(varied.inputs["input_ids"])
        whole[varied.inputs["at"]] = varied.targets["targets"]
        assert whole.tolist() == list(ids)
        seen.add(tuple(varied.inputs["at"]))
    assert len(seen) > 10


def test_only_a_tokenizer_with_a_mask_can_hide():
    class Plain:
        def special(self, name):
            return None

    with pytest.raises(RecipeError, match="the tokenizer has no mask token"):
        MaskedLm(text="text").examples({"text": "a"}, Plain())


def test_blocks_longer_than_the_positions(filler, tmp_path):
    with pytest.raises(RecipeError, match="blocks of 300 tokens are longer than the 256 positions"):
        MaskedLm(text="text", length=300).pack(list, filler.processor, tmp_path, (), print)


@pytest.mark.parametrize("kind", [MaskedLm, CausalLm])
def test_texts_are_packed_without_padding(kind, filler, tmp_path):
    task = kind(text="text", length=16)
    rows = [{"text": text} for text in masking.SAMPLE]
    blocks = task.pack(lambda: rows, filler.processor, tmp_path, ("a",), lambda done: None)
    tokens = sum(len(ids) for ids in filler.processor.cut(list(masking.SAMPLE)))
    assert len(blocks) == -(-tokens // 16)
    assert set(blocks.lengths[:-1].tolist()) == {16}
    assert max(blocks[1].inputs["segments"]) > 1 or max(blocks[2].inputs["segments"]) > 1
    if kind is CausalLm:
        where = [k for block in blocks for k in np.flatnonzero(np.diff(block.inputs["segments"]))]
        assert where
        for block in blocks:
            ends = np.flatnonzero(np.diff(block.inputs["segments"]))
            assert (block.targets["targets"][ends] == -100).all()
            assert block.count == (block.targets["targets"] >= 0).sum()


# ---- causal ----------------------------------------------------------------------------------------------------------


def test_a_beginning_is_gone_on_with_piece_by_piece(writer):
    *pieces, (_, answer) = writer.predictor().stream("one bright morning")
    assert answer["text"].strip() == "seven birds began to sing very loudly"
    assert "".join(pieces) == answer["text"]
    assert len(pieces) > 3
    assert answer["tokens"] >= 7


def test_a_request_says_how_far_and_how_freely(writer):
    ask = writer.predictor()
    [short] = ask([{"text": "one bright morning", "most": 2}])
    assert short["tokens"] == 2
    assert not short["ended"]
    drawn = [{"text": "one bright", "temperature": 3.0, "top_p": 1.0, "seed": seed} for seed in range(6)]
    first, second = ask(drawn), ask(drawn)
    assert first == second
    assert len({answer["text"] for answer in first}) > 3


def test_every_token_but_the_first_is_told_once(writer):
    text = " ".join(masking.SAMPLE)
    [ids] = writer.processor.cut([text])
    examples = writer.task.encode({"how_likely": text}, writer.processor)
    assert len(examples) > 1
    assert sum(example.note for example in examples) == len(ids) - 1
    assert np.concatenate([example.inputs["tokens"] for example in examples]).tolist() == list(ids[1:])


def test_metrics_of_likelihood():
    answers = [{"nll": 2.0, "tokens": 2, "characters": 10}, {"nll": 6.0, "tokens": 2, "characters": 6}]
    read = Perplexity().read(answers, [{}, {}])
    assert Perplexity().value(read, np.ones(2)) == pytest.approx(np.exp(8 / 4))
    assert Perplexity().value(read, np.array([1.0, 0.0])) == pytest.approx(np.e)
    read = BitsPerCharacter().read(answers, [{}, {}])
    assert BitsPerCharacter().value(read, np.ones(2)) == pytest.approx(8 / np.log(2) / 16)


def test_the_column_of_texts_is_found():
    table = pa.table({"id": [1, 2], "comment": ["some words", "other words"]})
    assert MaskedLm().settle(table).text == "comment"
    with pytest.raises(DataError, match="the column 'id' holds int64, not text"):
        CausalLm(text="id").settle(table)
    with pytest.raises(DataError, match="there is no column 'body'"):
        CausalLm(text="body").settle(table)
