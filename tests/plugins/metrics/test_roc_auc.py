import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from danlu.core.errors import DataError
from danlu.plugins.metrics.roc_auc import RocAuc


def value(answers, truth, weights):
    metric = RocAuc()
    return metric.value(metric.read(answers, truth), weights)


def test_two_labels_equal_scikit_learn_with_ties_and_weights(judged):
    answers, truth, scores, gold = judged(labels=("no", "yes"))
    assert len(np.unique(scores[:, 1])) < len(gold), "no ties: the test would not see their handling"
    for weights in (np.ones(len(gold)), np.random.default_rng(1).integers(0, 4, len(gold)).astype(float)):
        theirs = roc_auc_score(gold, scores[:, 1], sample_weight=weights)
        assert value(answers, truth, weights)["value"] == pytest.approx(theirs)


def test_many_labels_equal_scikit_learn_one_against_the_rest(judged):
    answers, truth, scores, gold = judged(labels=("a", "b", "c", "d"))
    ours = value(answers, truth, np.ones(len(gold)))
    assert ours["value"] == pytest.approx(roc_auc_score(gold, scores, multi_class="ovr", average="macro"))
    assert ours["labels"]["b"] == pytest.approx(roc_auc_score(gold == 1, scores[:, 1]))


def test_a_label_without_rows_has_no_area_and_does_not_count(judged):
    answers, truth, _, gold = judged(labels=("a", "b", "c"))
    weights = (gold != 2).astype(float)
    areas = value(answers, truth, weights)
    assert np.isnan(areas["labels"]["c"])
    assert areas["value"] == pytest.approx((areas["labels"]["a"] + areas["labels"]["b"]) / 2)


def test_answers_without_scores_are_refused():
    with pytest.raises(DataError, match="no scores to rank by"):
        RocAuc().read([{"label": "a"}], [{"label": "a"}])
