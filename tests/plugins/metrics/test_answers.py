"""Exact match and F1 of answers, against SQuAD's rules by hand."""

import numpy as np
import pytest

from danlu.blocks.answer_text import exact, f1, words
from danlu.plugins.metrics.answer_f1 import AnswerF1
from danlu.plugins.metrics.exact_match import ExactMatch


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("The  Cat's U.S. hat!", ["cats", "us", "hat"]),
        ("an apple a day, the end", ["apple", "day", "end"]),
        ("theatre", ["theatre"]),
        ("《红楼梦》的作者", ["红", "楼", "梦", "的", "作", "者"]),
        ("用 GPT-2 写", ["用", "gpt2", "写"]),
        ("the", []),
    ],
)
def test_what_counts_of_an_answer(text, read):
    assert words(text) == read


def test_by_hand():
    assert exact("The cat.", "cat") == 1
    assert exact("cat the dog", "dog cat") == 0
    assert f1("a red cat", "the cat sat") == pytest.approx(2 * 1 / 4)
    assert f1("曹雪芹先生", "曹雪芹") == pytest.approx(2 * 3 / 8)
    assert (f1("", ""), f1("", "cat"), f1("cat", "")) == (1, 0, 0)


GOLD = [
    {"text": "the mat", "texts": ["the mat", "a red mat"]},
    {"text": "dog", "texts": ["dog"]},
    {"text": "", "texts": []},
    {"text": "", "texts": []},
]
GIVEN = [{"text": "red mat"}, {"text": "dog barks"}, {"text": ""}, {"text": "cow"}]


def test_the_nearest_of_the_true_answers_counts_and_none_is_an_answer():
    metric, weights = AnswerF1(), np.ones(4)
    told = metric.value(metric.read(GIVEN, GOLD), weights)
    assert told["value"] == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)
    assert told["answered"] == pytest.approx((1 + 2 / 3) / 2)
    assert told["unanswerable"] == pytest.approx(1 / 2)
    assert ExactMatch().value(ExactMatch().read(GIVEN, GOLD), weights) == pytest.approx(2 / 4)
    assert np.isnan(metric.value(metric.read(GIVEN[:2], GOLD[:2]), weights[:2])["unanswerable"])
