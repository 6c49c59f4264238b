import random

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from danlu.blocks import known_words
from danlu.blocks.known_words import KnownWords
from danlu.blocks.special_tokens import BERT
from danlu.plugins.tokenizers.wordpiece import Wordpiece

TEXTS = ["A warm, funny film: don't miss it!", "酒店房间很好，film 不错 café", "naïve Über ① ﬁsh"]
SIGNS = [
    *"aBcé好的，。 ,.'-!\t\n\x0b\x1f\x00",
    "\u3000",
    "\u00a0",
    "\u0301",
    "\u200d",
    "\ufeff",
    "\u2028",
    "ß",
    "İ",
    "Σ",
    "𠀀",
    "🙂",
    "film",
    "warm",
    "豈",
]


@pytest.fixture(scope="module")
def processor():
    return Wordpiece().learn(TEXTS, BERT, 512)


@pytest.mark.parametrize("seed", range(10))
def test_the_ids_are_those_of_the_tokenizer(processor, seed):
    draw, words = random.Random(seed), KnownWords.of(processor._whole)
    for _ in range(200):
        text = "".join(draw.choices(SIGNS, k=draw.randint(0, 60)))
        assert words.ids(text, 1000).tolist() == processor._whole.encode(text).ids
    assert len(words) > 100


@pytest.mark.parametrize("most", [2, 3, 5, 400])
def test_a_text_is_cut_as_by_the_tokenizer(processor, most):
    found = processor.inputs(TEXTS[0], most)
    assert found["input_ids"].tolist() == processor._cutter(most).encode(TEXTS[0]).ids
    assert found["attention_mask"].tolist() == [1] * len(found["input_ids"])
    assert found["input_ids"].dtype == np.int64


def test_a_word_is_cut_once(processor, monkeypatch):
    words, asked = KnownWords.of(processor._whole), []
    whole = words._tokenizer
    monkeypatch.setattr(
        words, "_tokenizer", type("T", (), {"encode": lambda _, w, **k: asked.append(w) or whole.encode(w, **k)})()
    )
    for _ in range(2):
        words.ids("warm 好好 warm", 100)
    assert sorted(asked) == ["warm", "好"]


def test_special_tokens_in_a_text_are_the_tokenizers_matter(processor):
    words = KnownWords.of(processor._whole)
    assert words.ids("a [SEP] b", 100) is None
    assert processor.inputs("a [SEP] b")["input_ids"].tolist() == processor._whole.encode("a [SEP] b").ids


def test_no_more_words_are_kept_than_told(processor, monkeypatch):
    monkeypatch.setattr(known_words, "MOST", 5)
    words = KnownWords.of(processor._whole)
    for k in range(20):
        assert words.ids(f"warm{k} film", 100).tolist() == processor._whole.encode(f"warm{k} film").ids
    assert len(words) == 5


def test_other_kinds_of_tokenizers_are_left_alone(processor):
    bytes_ = Tokenizer(models.BPE())
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel()
    assert KnownWords.of(bytes_) is None
    other = Tokenizer.from_str(processor._whole.to_str())
    other.normalizer = normalizers.BertNormalizer(handle_chinese_chars=False)
    assert KnownWords.of(other) is None
