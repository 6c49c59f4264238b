"""Two small Marian models with random weights: what they say is nonsense, how they are asked is not."""

import functools
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, MarianConfig, MarianMTModel, PreTrainedTokenizerFast

from augmenting import CONTEXT, pieces
from danlu.blocks.hf_seq2seq import Translator
from danlu.contracts import Context
from danlu.core.errors import DataError
from danlu.plugins.operators.back_translation import BackTranslation

_KEPT = TemporaryDirectory()
WORDS = [f"w{k}" for k in range(40)]


def conforming(folder):
    return {"back_translation": dict(zip(("there", "back"), map(str, saved()), strict=True)) | {"most": 12}}


@functools.cache
def saved():
    """The folders of two models that know forty words, and write at least three before they end."""
    return tuple(_model(Path(_KEPT.name) / name, seed) for seed, name in enumerate(("there", "back")))


def _model(folder, seed):
    tokenizer = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2} | dict(zip(WORDS, range(3, 43), strict=True)), "<unk>"))  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=32
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = MarianConfig(
        vocab_size=43, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, init_std=0.5,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=32,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, forced_eos_token_id=None,
    )  # fmt: skip
    model = MarianMTModel(config)
    model.final_logits_bias[0, 1] = 30.0
    model.generation_config.update(min_new_tokens=4, bad_words_ids=[[0], [2]], num_beams=7, max_length=5)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders():
    return tuple(map(str, saved()))


def operator(folders, **options):
    return BackTranslation(there=folders[0], back=folders[1], **{"most": 12} | options)


def given(count=20):
    texts = [" ".join(WORDS[(k + 3 * j) % 40] for j in range(3 + k % 5)) for k in range(count)]
    return pa.table({"text": texts, "label": ["a", "b"] * (count // 2), "n": range(count)})


def test_copies_stand_behind_their_row_with_its_label(folders):
    before = given()
    after, counts = operator(folders, copies=2, temperature=1.5).apply(before, CONTEXT)
    assert (counts.rows_in, counts.rows_out, counts.changed) == (20, 60, 40)
    assert counts.by == {"translated back": 40}
    assert after["n"].to_pylist() == [n for n in range(20) for _ in range(3)]
    assert after["label"].to_pylist() == [label for label in before["label"].to_pylist() for _ in range(3)]
    old, new = before["text"].to_pylist(), after["text"].to_pylist()
    assert all(set(text.split()) <= set(WORDS) and len(text.split()) >= 3 for text in new)
    assert sum(new[3 * n + 1] != new[3 * n + 2] for n in range(20)) > 10, "the copies of a row are drawn alike"
    assert counts.samples[0] == ({"text": old[0]}, {"text": new[1]})


def test_the_seed_decides_and_neither_order_nor_pieces(folders):
    before = given()
    whole = operator(folders).apply(before, CONTEXT)[0]
    backward = operator(folders).apply(before.take(list(range(19, -1, -1))), CONTEXT)[0]
    assert sorted(backward["text"].to_pylist()) == sorted(whole["text"].to_pylist())
    assert pieces(operator(folders), before, 7).equals(whole.combine_chunks())
    assert not operator(folders).apply(before, Context(CONTEXT.columns, "train", 4))[0].equals(whole)


def test_the_way_there_is_what_plain_transformers_finds(folders):
    texts = given(6)["text"].to_pylist()
    tokenizer, model = AutoTokenizer.from_pretrained(folders[0]), AutoModelForSeq2SeqLM.from_pretrained(folders[0])
    found = Translator(saved()[0]).best(texts, beams=4, most=12)
    for text in texts:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            written = model.generate(ids, num_beams=4, max_length=None, max_new_tokens=12)
        assert found[text] == tokenizer.decode(written[0], skip_special_tokens=True)


def test_both_ways_are_gone(folders):
    """Another model on either way gives other texts."""
    there, back = folders
    made = [
        operator(pair, temperature=0.01).apply(given(), CONTEXT)[0]["text"].to_pylist()
        for pair in ((there, back), (back, back), (there, there))
    ]
    assert made[0] != made[1]
    assert made[0] != made[2]


def test_draws_are_as_frequent_as_their_probabilities(folders):
    text = "w1 w2 w3"
    texts = Translator(saved()[1]).drawn([text] * 1500, range(1500), temperature=2.0, most=12)
    first = Counter(one.split()[0] for one in texts)
    tokenizer, model = AutoTokenizer.from_pretrained(folders[1]), AutoModelForSeq2SeqLM.from_pretrained(folders[1])
    with torch.no_grad():
        scores = model(**tokenizer(text, return_tensors="pt"), decoder_input_ids=torch.zeros(1, 1, dtype=torch.long))
    expected = torch.softmax(scores.logits[0, 0, 3:] / 2.0, 0)  # neither the end nor what may not be said
    for k in expected.topk(3).indices.tolist():
        assert first[WORDS[k]] / 1500 == pytest.approx(float(expected[k]), abs=0.05)


def test_what_is_too_long_or_empty_stays_and_is_told(folders):
    odd = ["w1 w2", "w1 " * 40, "", "  "]
    table = pa.table({"text": odd, "label": ["a"] * 4, "n": range(4)})
    made, counts = operator(folders, copies=0).apply(table, CONTEXT)
    assert made["text"].to_pylist()[1:] == odd[1:]
    assert made["text"][0].as_py() != odd[0]
    assert counts.notes == ["3 of the changes asked for could not be made: too long for the models, or the same came back"]  # fmt: skip


def test_a_translation_that_does_not_end_is_none(folders):
    made, counts = operator(folders, most=4).apply(given(4), CONTEXT)
    assert (made.num_rows, counts.changed) == (4, 0)


def test_a_text_is_translated_there_once(folders, monkeypatch):
    asked = []
    plain = Translator._written
    monkeypatch.setattr(Translator, "_written", lambda self, texts, *a, **k: asked.append(len(texts)) or plain(self, texts, *a, **k))  # fmt: skip
    table = pa.table({"text": ["w1 w2 w3"] * 6, "label": ["a"] * 6, "n": range(6)})
    operator(folders, copies=3).apply(table, CONTEXT)
    assert asked == [1, 18]


@pytest.mark.parametrize(("spoil", "what"), [
    (lambda f: (f / "config.json").write_text(json.dumps({"model_type": "bert"})), "writes no text for a text"),
    (lambda f: (f / "model.safetensors").unlink(), "weights can't be read"),
    (lambda f: (f / "tokenizer.json").write_text("{"), "tokenizer can't be read"),
    (lambda f: save_file({k: v for k, v in load_file(f / "model.safetensors").items() if "fc1" not in k}, f / "model.safetensors"), "do not fit"),
])  # fmt: skip
def test_a_broken_model_is_refused(tmp_path, spoil, what):
    spoil(_model(tmp_path / "broken", 3))
    with pytest.raises(DataError, match=what):
        operator((str(tmp_path / "broken"), str(saved()[1]))).apply(given(2), CONTEXT)
