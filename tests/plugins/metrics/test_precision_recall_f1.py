import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from danlu.plugins.metrics.f1 import F1
from danlu.plugins.metrics.precision import Precision
from danlu.plugins.metrics.recall import Recall

METRICS = [(Precision, 0), (Recall, 1), (F1, 2)]


@pytest.mark.parametrize(("metric", "place"), METRICS)
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("skill", [0.0, 3.0])
def test_equals_scikit_learn_also_with_weights(metric, place, average, skill, judged):
    answers, truth, _, gold = judged(skill=skill, labels=("a", "b", "c", "d"))
    given = ["abcd".index(a["label"]) for a in answers]
    weights = np.random.default_rng(1).integers(0, 4, len(gold)).astype(float)
    one = metric(average=average)
    read = one.read(answers, truth)
    for sample_weight in (np.ones(len(gold)), weights):
        theirs = precision_recall_fscore_support(gold, given, average=average, sample_weight=sample_weight)[place]
        ours = one.value(read, sample_weight)
        assert ours["value"] == ours[average] == pytest.approx(theirs)
        each = precision_recall_fscore_support(gold, given, average=None, sample_weight=sample_weight)[place]
        assert list(ours["labels"].values()) == pytest.approx(list(each))


@pytest.mark.parametrize(("metric", "value"), [(Precision, 0.25), (Recall, 0.5), (F1, 1 / 3)])
def test_a_label_that_is_never_given_counts_zero_and_one_that_never_occurs_counts_not(metric, value):
    answers = [{"label": "a", "scores": {"a": 0.9, "b": 0.1, "c": 0.0}}] * 2
    ours = metric().value(metric().read(answers, [{"label": "a"}, {"label": "b"}]), np.ones(2))
    assert ours["labels"]["b"] == 0
    assert np.isnan(ours["labels"]["c"])
    assert ours["macro"] == pytest.approx(value)


@pytest.mark.parametrize("metric", [Precision, Recall, F1])
def test_the_headline_is_the_average_asked_for(metric, judged):
    answers, truth, _, _ = judged(labels=("a", "b", "c"), skill=1.0)
    chosen = metric(average="micro")
    read = chosen.read(answers, truth)
    assert chosen.value(read, np.ones(len(truth)))["value"] != metric().value(read, np.ones(len(truth)))["value"]
