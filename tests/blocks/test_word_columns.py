"""The ids of a column are those that the tokenizer gives of each text, and every different word is looked up once."""

import random

import pyarrow as pa
import pytest

from danlu.blocks import cutting
from danlu.blocks.crew import Crew
from danlu.blocks.cutting import cut_texts
from danlu.blocks.known_words import KnownWords
from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.blocks.word_columns import WordColumns
from danlu.plugins.tokenizers.wordpiece import Wordpiece

TEXTS = ["A warm, funny film: don't miss it!", "酒店房间很好，film 不错 café", "naïve Über ① ﬁsh"]
SIGNS = [
    *"aBcé好的鿿㐀䶿，。、；！ ,.'-!_\t\n\x0b\x1f\x00",
    *"\u3000\u00a0\u0301\u200d\ufeff\u2028ßİΣ𠀀🙂豈〇々カ",
    "film ",
    "warm",
]


@pytest.fixture(scope="module")
def processor():
    return Wordpiece().learn(TEXTS, BERT, 512)


def columns(processor):
    return WordColumns(KnownWords.of(processor._whole))


def drawn(seed, count=300):
    draw = random.Random(seed)
    return ["", *("".join(draw.choices(SIGNS, k=draw.randint(0, 60))) for _ in range(count)), ""]


@pytest.mark.parametrize("most", [2, 3, 9, 1000])
def test_the_ids_are_those_of_the_tokenizer(processor, most):
    texts = drawn(most)
    found = columns(processor).ids_of(pa.array(texts), most, {})
    assert found.to_pylist() == [processor._cutter(most).encode(text).ids for text in texts]


def test_a_slice_of_a_column_and_one_of_nothing(processor):
    known, texts = columns(processor), pa.array(TEXTS)
    assert known.ids_of(texts[1:], 99, {}).to_pylist() == known.ids_of(texts, 99, {}).to_pylist()[1:]
    assert known.ids_of(texts[:0], 99, {}).to_pylist() == []
    assert known.ids_of(pa.array(["", ""]), 99, {}).to_pylist() == [processor._whole.encode("").ids] * 2


def test_ids_that_are_told_are_taken_whole(processor):
    known, told = columns(processor), {0: [7], 2: [8] * 50}
    found = known.ids_of(pa.array(TEXTS), 4, told).to_pylist()
    assert found == [[7], processor._cutter(4).encode(TEXTS[1]).ids, [8] * 50]


def test_a_word_is_cut_once(processor, monkeypatch):
    words, asked = KnownWords.of(processor._whole), []

    class Counting:
        def encode_batch_fast(self, given, **options):
            asked.extend(given)
            return processor._whole.encode_batch_fast(given, **options)

    monkeypatch.setattr(words, "_tokenizer", Counting())
    known = WordColumns(words)
    for _ in range(2):
        known.ids_of(pa.array(["wärmer 好好,wärmer", "好, film", "wärmer "]), 100, {})
    assert sorted(asked) == [",", "wärmer"]  # of plain words the model alone is asked


@pytest.mark.parametrize("lowers", [True, False])
def test_plain_words_are_cut_as_the_tokenizer_cuts_them(lowers):
    processor = Wordpiece(lowercase=lowers).learn(["film Film FILM warm 1990s x1 " * 3], BERT, 512)
    known, texts = columns(processor), ["film Film FILM", "Warm 1990s x1 X1", "f" * 101, "filmfilm"]
    assert known.ids_of(pa.array(texts), 99, {}).to_pylist() == [processor._whole.encode(text).ids for text in texts]


def test_the_tokenizer_is_asked_for_no_plain_text(processor, monkeypatch):
    given, asked = [*TEXTS, "a [SEP] b", "film " * 3000], []
    expected = [processor.inputs(text, 9)["input_ids"].tolist() for text in given]
    inputs = TextProcessor.inputs
    monkeypatch.setattr(cutting, "PIECE", 20)
    monkeypatch.setattr(TextProcessor, "inputs", lambda self, x, limit: asked.append(x) or inputs(self, x, limit))
    with Crew() as crew:
        assert [one["input_ids"].tolist() for one in cut_texts(processor, given, 9, crew, 0)] == expected
    assert asked == given[-2:]
