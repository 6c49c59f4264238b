import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from danlu.core.errors import DataError
from danlu.plugins.metrics.accuracy import Accuracy


def test_equals_scikit_learn_also_with_weights(judged):
    answers, truth, _, gold = judged()
    given = ["abc".index(a["label"]) for a in answers]
    weights = np.random.default_rng(1).integers(0, 4, len(gold)).astype(float)
    metric = Accuracy()
    read = metric.read(answers, truth)
    assert metric.value(read, np.ones(len(gold))) == pytest.approx(accuracy_score(gold, given))
    assert metric.value(read, weights) == pytest.approx(accuracy_score(gold, given, sample_weight=weights))


def test_a_row_without_a_true_label_is_refused(judged):
    answers, truth, _, _ = judged(rows=3)
    with pytest.raises(DataError, match="1 of 3 rows have no true label"):
        Accuracy().read(answers, [*truth[:2], None])


def test_a_missing_answer_is_refused(judged):
    answers, truth, _, _ = judged(rows=3)
    with pytest.raises(DataError, match="2 answers for 3"):
        Accuracy().read(answers[:2], truth)
