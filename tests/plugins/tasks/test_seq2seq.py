"""Encoder–decoders: what they are taught, how they write, and that what they keep changes no answer."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
import torch

from danlu import bundle
from danlu.blocks import beam, decoder_cache, masking, spans
from danlu.blocks.pairs import after
from danlu.blocks.pairs import end as end_of
from danlu.blocks.tensors import to_torch
from danlu.blocks.text_distance import distance
from danlu.blocks.torch_form import TorchForm
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.backbones.nearest import Nearest
from danlu.plugins.backbones.t5 import T5
from danlu.plugins.runtimes.onnx import Onnx
from danlu.plugins.tasks.seq2seq import Seq2seq
from danlu.plugins.tasks.span_denoising import SpanDenoising
from danlu.stages.compress import heard
from danlu.testing.partners import Trial
from danlu.testing.reader import Reader
from danlu.testing.writer import Writer
from danlu.values import CUT

ODD = ("seven cats leave", "zzz", "she sat", "two two two grey letters he wrote loudly")


def conforming(folder):
    return {"seq2seq": {"beams": 2}, "span_denoising": {"length": 16}}


@pytest.fixture(scope="module")
def translator():
    return Trial.of(Seq2seq(), T5(positions=64, dropout=0.0)).fit(steps=60, lr=1e-3)


@pytest.fixture(scope="module")
def filler():
    return Trial.of(SpanDenoising(length=16), Writer()).fit(steps=200)


# ---- writing ---------------------------------------------------------------------------------------------------------


def requests(beams):
    """They end after different numbers of tokens, so rows of several lengths lie beside one another."""
    texts = (*ODD, "a grey cat sits")
    return [{"text": text, "beams": beams, "most": 2 + 3 * k} for k, text in enumerate(texts)]


@pytest.mark.parametrize("beams", [1, 3])
def test_what_is_kept_changes_no_answer(translator, beams):
    kept = translator.predictor()
    plain = translator.predictor(TorchForm(translator.module))
    together, again = kept(requests(beams)), plain(requests(beams))
    alone = [answer for x in requests(beams) for answer in kept([x])]
    for a, b, c in zip(together, again, alone, strict=True):
        assert a["text"] == b["text"] == c["text"]
        assert a["confidence"] == pytest.approx(b["confidence"], abs=1e-5) == c["confidence"]
    assert len({answer["tokens"] for answer in together}) > 1


def test_scores_are_kept_and_not_computed_again(translator, monkeypatch):
    seen = []
    step = decoder_cache._step
    monkeypatch.setattr(
        decoder_cache, "_step", lambda model, shelf, last: seen.append(len(last)) or step(model, shelf, last)
    )
    translator.predictor()(requests(3))
    assert len(seen) > 4
    assert max(seen) > len(requests(3))  # several beams of several talks share a pass


def test_a_branch_leaves_the_others_as_they_were(translator):
    task, processor = translator.task, translator.processor
    model = translator.module.eval()
    with torch.inference_mode():
        [first] = task.encode("a grey cat", processor)
        [(_, state)] = decoder_cache.resume(model, [first])
        inputs = {name: first.inputs[name] for name in ("input_ids", "attention_mask")}

        def ask(*ids, state=state):
            one = after(inputs, beam.Beginning((processor.pad_id, *ids), state=state))
            [(outputs, new)] = decoder_cache.resume(model, [one])
            return outputs["logits"], new

        before, longer = ask(120)
        ask(130), ask(120, 140, state=longer)
        assert np.array_equal(before, ask(120)[0])
        assert decoder_cache.resume(model, [after(inputs, beam.Beginning((processor.pad_id, 1, 2)))]) is None


def test_a_beam_finds_what_greed_misses():
    """The likeliest first token leads to a bad text; two beams see that, one does not."""
    end, first = 3, {(0,): (0.0, 0.55, 0.45, 0.0), (0, 1): (0.0, 0.34, 0.33, 0.33), (0, 2): (0.0, 0.05, 0.05, 0.9)}

    def run(beams, penalty=0.0):
        asked = beam.Request("x", beams, 4, penalty)
        talk = beam.write(lambda one: one, 0, end, asked, lambda ids: " ".join(map(str, ids)))
        outputs = None
        try:
            while True:
                step = talk.send(outputs)
                if isinstance(step, list):
                    shares = [first.get(one.ids, (0.0, 0.1, 0.1, 0.8)) for one in step]
                    outputs = [{"logits": np.log(np.array([share]) + 1e-9)} for share in shares]
                else:
                    outputs = None
        except StopIteration as stop:
            return stop.value

    assert run(1)["text"].startswith("1")
    assert run(2)["text"] == "2 3"
    assert run(2)["confidence"] == pytest.approx((0.45 * 0.9) ** 0.5, abs=1e-4)
    assert beam.Beginning((0, 1, 1, 1, 1), 4.0).score(1.0) > beam.Beginning((0, 1), 3.0).score(1.0)
    assert beam.Beginning((0, 1, 1, 1, 1), 4.0).score(0.0) < beam.Beginning((0, 1), 3.0).score(0.0)


def written(task, x, processor, shares, other):
    """The answer of a task where `shares` tells how likely tokens are after those written, `other` after any others."""
    talk, outputs = task.answer(x, processor), None
    try:
        while True:
            examples, outputs = talk.send(outputs), []
            for example in examples:
                logits = np.full((1, processor.size), -30.0)
                for token, share in shares.get(tuple(example.inputs["decoder_input_ids"].tolist()[1:]), other).items():
                    logits[0, token] = np.log(share)
                outputs.append({"logits": logits})
    except StopIteration as stop:
        return stop.value


def test_the_length_penalty_changes_which_text_is_chosen(translator):
    """Of `a` (likelihood 0.55, two tokens with its end) and `a b` (0.405, three), by the option and by the request."""
    processor, end = translator.processor, end_of(translator.processor)
    a, b, c = processor.ids("eine graue Katze")[:3]
    shares = {(): {a: 1.0}, (a,): {end: 0.55, b: 0.45}, (a, b): {end: 0.9, c: 0.1}}
    short, long = (processor.text(ids) for ids in ([a], [a, b]))
    assert short != long

    def text(x="x", **options):
        return written(Seq2seq(beams=2, **options), x, processor, shares, {end: 1.0})["text"]

    assert text(length_penalty=0.0) == text() == short
    assert text(length_penalty=5.0) == long
    assert text({"text": "x", "length_penalty": 5}) == long
    assert text({"text": "x", "length_penalty": 0}, length_penalty=5.0) == short


def test_one_beam_says_its_text_in_pieces(translator):
    *pieces, (_, answer) = translator.predictor().stream({"text": "a grey cat sits", "beams": 1})
    assert "".join(pieces) == answer["text"] == "eine graue Katze sitzt"
    assert len(pieces) >= 3


def test_plain_transformers_writes_the_same(translator, tmp_path):
    import transformers

    translator.save(tmp_path / "model")
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    for x in ODD[:3]:
        ids = tokenizer(x, return_tensors="pt").input_ids
        written = model.generate(ids, max_new_tokens=20, num_beams=1, do_sample=False)
        [answer] = translator.predictor()([{"text": x, "beams": 1, "most": 20}])
        assert tokenizer.decode(written[0], skip_special_tokens=True) == answer["text"]


def test_onnx_writes_the_same(translator, tmp_path):
    (tmp_path / "onnx").mkdir()
    Onnx().export(translator.module, heard(translator.predictor(), ["a cat", ODD[3]]), tmp_path / "onnx")
    ask = translator.predictor(Onnx().load(tmp_path / "onnx", None))
    for a, b in zip(ask(requests(2)), translator.predictor()(requests(2)), strict=True):
        assert translator.task.distance(a, b) <= Onnx.tolerance


# ---- learning --------------------------------------------------------------------------------------------------------


def test_long_texts_are_cut_and_counted(translator):
    task = translator.task.model_copy(update={"longest": 6})
    rows = [
        {"source": "a cat", "target": "Katze"},
        {"source": "a " * 30, "target": "x"},
        {"source": "a", "target": "x " * 30},
    ]
    examples = [task.examples(row, translator.processor)[0] for row in rows]
    assert [example.note for example in examples] == [None, CUT, CUT]
    assert len(examples[1].inputs["input_ids"]) == len(examples[2].targets["targets"]) == 6
    end = translator.processor.special("eos_token")
    assert examples[0].targets["targets"][-1] == examples[1].inputs["input_ids"][-1] == end
    assert examples[0].inputs["decoder_input_ids"][1:].tolist() == examples[0].targets["targets"][:-1].tolist()


def test_columns_and_empty_texts():
    table = pa.table({"source": ["a", "b"], "target": ["x", " "], "n": [1, 2]})
    assert Seq2seq().settle(table).columns().gold == ("target",)
    with pytest.raises(DataError, match=r"row 2: 1 of 2 rows have no text in 'target', this one first"):
        Seq2seq().resolve(table)
    with pytest.raises(DataError, match="there is no column 'en'; the columns are: source, target, n"):
        Seq2seq(source="en").settle(table)
    with pytest.raises(DataError, match="the column 'n' holds int64, not text"):
        Seq2seq(target="n").settle(table)
    with pytest.raises(DataError, match="both what is read and what is written"):
        Seq2seq(target="source").settle(table)
    with pytest.raises(DataError, match="the text to be written is empty"):
        Seq2seq(source="s", target="t").examples({"s": "a", "t": ""}, None)


def test_a_request_that_is_none(translator):
    for x in ({"text": "a", "beams": 99}, {"text": "a", "beam": 2}, {"how_likely": "a"}, 7):
        with pytest.raises(DataError, match=r"beams must be|a request has no .beam.|holds two texts|give a text"):
            translator.predictor()([x])
    [likely, not_so] = translator.predictor()(
        [
            {"source": "seven birds sing very loudly", "how_likely": text}
            for text in ("sieben Vögel singen sehr laut", "Tür")
        ]
    )
    assert likely["nll"] / likely["tokens"] < 0.5 < not_so["nll"] / not_so["tokens"]


def test_distance_of_texts():
    assert distance("abc", "abc") == 0
    assert distance("abc", "xyz") == 1
    assert 0 < distance("打开文件", "打开文件。") < 0.5
    assert distance("aabaa", "aaabaa") == distance("aaabaa", "aabaa") > 0


# ---- spans -----------------------------------------------------------------------------------------------------------


def test_spans_are_hidden_and_named(filler):
    known = spans.Sentinels.of(filler.processor)
    ids = np.array([200 + k % 50 for k in range(300)], dtype=np.int64)
    documents = np.repeat([1, 2, 3], [180, 119, 1])
    shares = []
    for seed in range(20):
        hidden = spans.hide(ids, documents, known, 0.15, 3.0, np.random.default_rng(seed))
        assert len(hidden.read) == len(hidden.segments)
        assert len(hidden.written) == len(hidden.written_segments) == len(hidden.targets)
        assert set(hidden.written_segments.tolist()) == {1, 2}  # the third is too short to hide anything of
        for document in (1, 2):
            read, said = hidden.read[hidden.segments == document], hidden.targets[hidden.written_segments == document]
            given = hidden.written[hidden.written_segments == document]
            assert given.tolist() == [known.start, *said[:-1].tolist()]
            assert said[-1] == known.end
            whole, parts = spans.filled(read, said, known)
            assert whole == ids[documents == document].tolist()
            assert list(parts) == list(known.ids[: len(parts)])
            shares.append(sum(map(len, parts.values())) / len(whole))
            assert sum(map(len, parts.values())) / len(parts) == pytest.approx(3.0, abs=0.3)
    assert np.allclose(shares, 0.15, atol=0.01)


def test_a_document_in_a_block_gives_what_it_gives_alone():
    trial = Trial.of(SpanDenoising(length=32), T5(positions=64, dropout=0.0))
    known = spans.Sentinels.of(trial.processor)
    rng = np.random.default_rng(0)
    ids = rng.integers(110, trial.processor.size, 30)
    documents = np.repeat([1, 2], [13, 17])
    rngs = [np.random.default_rng(1), np.random.default_rng(1)]
    block = trial.task._hide((ids, documents, known), rngs[0])
    alone = [trial.task._hide((part, np.ones_like(part), known), rngs[1]) for part in (ids[:13], ids[13:])]

    def loss(example):
        batch = to_torch(trial.task.collate([example], trial.processor))
        with torch.no_grad():
            return float(trial.task.loss(trial.task.forward(trial.module.eval(), batch), batch))

    assert loss(block) == pytest.approx(sum(map(loss, alone)), rel=1e-4)


def test_gaps_are_filled(filler):
    [answer] = filler.predictor()(["ships from far <extra_id_0> bring tea pepper salt and silk"])
    assert len(answer["gaps"]) == 1
    assert answer["gaps"][0]
    assert answer["text"] == f"ships from far {answer['gaps'][0]} bring tea pepper salt and silk"
    with pytest.raises(DataError, match="there is no gap to fill: put <extra_id_0> where the first one is"):
        filler.predictor()(["ships from far"])


def test_spans_vary_and_a_tokenizer_needs_sentinels(filler):
    [example, *_] = filler.task.model_copy(update={"length": 64}).examples(
        {"text": " ".join(masking.SAMPLE)}, filler.processor
    )
    drawn = {tuple(filler.task.vary(example, np.random.default_rng(k)).targets["targets"]) for k in range(20)}
    assert len(drawn) > 3
    processor = Trial.of(SpanDenoising(), Reader()).processor
    with pytest.raises(RecipeError, match=r"no sentinels \(<extra_id_0> and so on\), so no span can be hidden"):
        SpanDenoising(text="text").pack(list, processor, None, (), print)
    with pytest.raises(RecipeError, match="no token that ends a text"):
        Seq2seq(source="s", target="t").examples({"s": "a", "t": "b"}, processor)


def test_a_saved_model_answers_the_same(translator, tmp_path):
    translator.save(tmp_path / "model")
    ask = bundle.load(tmp_path / "model")
    assert ask(requests(2)) == translator.predictor()(requests(2))
    assert len(list(itertools.islice(ask.stream(requests(1)[0]), 2))) == 2


# ---- the baseline ----------------------------------------------------------------------------------------------------


def test_the_nearest_text_is_found(tmp_path):
    rows = Seq2seq().sample(4)
    trial = Trial.of(Seq2seq(), Nearest(), rows=rows).fit(steps=1, batch_size=4)
    same, near, nothing = trial.predictor()(["two red boats leave", "boats he leaves", "Q"])
    assert same["text"] == near["text"] == rows[1]["target"]
    assert same["confidence"] > near["confidence"] > nothing["confidence"] >= 0.5
    loaded = bundle.load(trial.save(tmp_path / "model"))
    assert loaded(["boats he leaves"])[0] == near
    [told] = trial.predictor()([{"source": "two red boats leave", "how_likely": rows[1]["target"]}])
    assert told["nll"] / told["tokens"] == pytest.approx(0.001, abs=1e-4)
