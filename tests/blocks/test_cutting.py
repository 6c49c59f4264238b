"""Texts cut by several processes: the arrays are those of one text after another, whatever the number of processes."""

import json
import random

import numpy as np
import pytest

from danlu.blocks import cutting
from danlu.blocks.crew import ENV, Crew
from danlu.blocks.cutting import ahead, cut_texts
from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.core.errors import DataError
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.plugins.tasks.text_pair_classification import TextPairClassification
from danlu.plugins.tokenizers.bpe import Bpe
from danlu.plugins.tokenizers.wordpiece import Wordpiece

LEARNT = ["A warm, funny film: don't miss it!", "酒店房间很好，film 不错 café", "naïve Über"]
SIGNS = [*"aBc好的，。 ,.'-!\t", "film", "warm", "酒店", "[MASK]", "İ", "🙂", "\ud800", "\ud83d"]
TASK = TextClassification(text="text", label="label", labels=("a", "b"), max_length=12)


def texts(count=200, signs=SIGNS):
    draw = random.Random(0)
    return ["", *("".join(draw.choices(signs, k=draw.randint(0, 40))) for _ in range(count))]


@pytest.fixture(scope="module", params=[Wordpiece, Bpe])
def processor(request):
    return request.param().learn(LEARNT * 3, BERT, 512)


@pytest.fixture(params=["1", "2", "3"])
def crew(request, monkeypatch):
    monkeypatch.setenv(ENV, request.param)
    monkeypatch.setattr(cutting, "PIECE", 700)
    with Crew() as made:
        yield made


def same(found, expected):
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert list(mine) == list(theirs)
        for name, array in theirs.items():
            assert mine[name].dtype == array.dtype == np.int64
            assert mine[name].tolist() == array.tolist()


@pytest.mark.parametrize("limit", [None, 7])
def test_the_arrays_are_those_of_one_text_after_another(processor, crew, limit):
    given = texts()
    same(list(cut_texts(processor, given, limit, crew, 0)), [processor.inputs(text, limit) for text in given])


def test_types_come_with_a_tokenizer_that_has_them(processor, crew):
    told = json.loads(processor._files["tokenizer.json"])
    for part in told["post_processor"]["single"]:
        next(iter(part.values()))["type_id"] = 1
    typed = TextProcessor({"tokenizer.json": json.dumps(told).encode()}, 512)
    expected = [typed.inputs(text, 9) for text in texts(50)]
    assert "token_type_ids" in expected[1]
    same(list(cut_texts(typed, texts(50), 9, crew, 0)), expected)


def rows(given):
    return [{"text": text, "label": "ab"[k % 2]} for k, text in enumerate(given)]


def test_a_task_gets_the_examples_it_would_make_alone(processor, crew):
    given = rows(texts())
    expected = [one for row in given for one in TASK.examples(row, processor)]
    with ahead(TASK, processor, lambda: given, 0) as cutter:
        if crew.others:
            cutter._processor = None  # whoever asks it again fails
        found = [one for row in given for one in TASK.examples(row, cutter)]
    same([one.inputs for one in found], [one.inputs for one in expected])
    assert [one.targets for one in found] == [one.targets for one in expected]


def test_what_was_not_cut_ahead_is_asked_of_the_processor(processor, monkeypatch):
    monkeypatch.setenv(ENV, "2")
    given = rows(texts(5))
    with ahead(TASK, processor, lambda: given, 0) as cutter:
        assert cutter.pad is processor.pad
        same([cutter.inputs("another film", 4)], [processor.inputs("another film", 4)])
        same([cutter.inputs(given[1]["text"])], [processor.inputs(given[1]["text"])])
    with ahead(TASK, processor, lambda: [*given, {"text": None, "label": "a"}], 0) as cutter:
        for row in given:
            TASK.examples(row, cutter)
        with pytest.raises(DataError, match="a text must be a string, not NoneType"):
            TASK.examples({"text": None, "label": "a"}, cutter)


def test_a_first_row_that_is_wrong_is_told_when_its_turn_comes(processor, monkeypatch):
    monkeypatch.setenv(ENV, "2")
    wrong = {"text": "film", "label": "c"}
    with ahead(TASK, processor, lambda: [wrong], 0) as cutter, pytest.raises(DataError, match="'c'"):
        TASK.examples(wrong, cutter)


@pytest.mark.parametrize("why", ["few", "pairs", "none"])
def test_the_processor_stays_where_it_does_not_pay(processor, monkeypatch, why):
    if why != "few":
        monkeypatch.setenv(ENV, "2")
    pairs = TextPairClassification(text="text", text_pair="label", label="label", labels=("a", "b"))
    given = [] if why == "none" else rows(texts(3))
    with ahead(pairs if why == "pairs" else TASK, processor, lambda: given, 1000) as cutter:
        assert cutter is processor
