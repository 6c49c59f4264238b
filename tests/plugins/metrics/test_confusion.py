import numpy as np
from sklearn.metrics import confusion_matrix

from danlu.plugins.metrics.confusion import Confusion


def test_rows_are_true_labels_and_columns_given_ones(judged):
    answers, truth, _, gold = judged()
    given = ["abc".index(a["label"]) for a in answers]
    metric = Confusion()
    ours = metric.value(metric.read(answers, truth), np.ones(len(gold)))
    assert ours["names"] == ["a", "b", "c"]
    assert ours["matrix"] == confusion_matrix(gold, given).tolist()
    assert ours["matrix"] != np.transpose(ours["matrix"]).tolist(), "symmetric: the test would not see a swap"


def test_a_label_the_model_does_not_know_has_a_row_of_its_own():
    metric = Confusion()
    answers = [{"label": "b", "scores": {"b": 0.9, "a": 0.1}}]
    ours = metric.value(metric.read(answers, [{"label": "z"}]), np.ones(1))
    assert ours == {"names": ["b", "a", "z"], "matrix": [[0, 0, 0], [0, 0, 0], [1, 0, 0]]}
