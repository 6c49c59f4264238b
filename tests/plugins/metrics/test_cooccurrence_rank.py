import numpy as np

from danlu.plugins.metrics.cooccurrence_rank import CooccurrenceRank

GOLD = [{"text": text, "fit": 1.0} for text in ("a b", "c d", "e")]


def test_it_is_the_mean_fit_and_an_answer_about_another_text_is_worth_nothing():
    answers = [{"text": "a b", "fit": 0.9}, {"text": "a b", "fit": 1.0}, {"word": "e", "nearest": []}]
    metric = CooccurrenceRank()
    read = metric.read(answers, GOLD)
    assert read.tolist() == [0.9, 0.0, 0.0]
    assert metric.value(read, np.array([2.0, 1.0, 0.0])) == 0.6
