"""Places among candidates, and recall."""

from __future__ import annotations

import numpy as np

from danlu.blocks import matching


def test_places_are_those_of_a_sort(monkeypatch):
    rng = np.random.default_rng(0)
    queries, candidates = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 40, 5)))
    order = np.argsort(-(queries @ candidates.T), axis=1)
    wanted = [list(order[k]).index(k) for k in range(40)]
    assert matching.places(queries, candidates).tolist() == wanted
    monkeypatch.setattr(matching, "_AT_ONCE", 80)
    assert matching.places(queries, candidates).tolist() == wanted


def test_a_second_copy_is_not_before_the_right_one():
    same = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert matching.places(same, same).tolist() == [0, 0, 0]


def test_recall_weighs_rows():
    found = np.array([0, 3, 1])
    assert matching.recall(found, 1, np.ones(3)) == 1 / 3
    assert matching.recall(found, 2, np.array([1.0, 0.0, 1.0])) == 1.0
    assert np.isnan(matching.recall(found, 2, np.zeros(3)))
