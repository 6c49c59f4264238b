"""Metrics of rankings against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from danlu.blocks.retrieval import details
from danlu.core.errors import DataError
from danlu.plugins.metrics.mrr import Mrr
from danlu.plugins.metrics.ndcg import Ndcg
from danlu.plugins.metrics.recall_at_k import RecallAtK

GOLD = [{"scores": [1, 0, 0, 1]}, {"scores": [0, 0, 1]}, {"scores": [0, 2, 1, 0, 0]}]
GIVEN = [{"scores": [0.9, 0.5, 0.1, 0.4]}, {"scores": [0.3, 0.2, 0.1]}, {"scores": [0.1, 0.2, 0.9, 0.8, 0.0]}]


def conforming(folder):
    return {"recall_at_k": {"k": 1}}


def value(metric, given=GIVEN, gold=GOLD, weights=None):
    return metric.value(metric.read(given, gold), np.ones(len(gold)) if weights is None else np.array(weights))


def test_by_hand():
    assert value(RecallAtK(k=1)) == pytest.approx((1 / 2 + 0 + 1 / 2) / 3)
    assert value(RecallAtK(k=3)) == pytest.approx((1 + 1 + 1) / 3)
    assert value(Mrr()) == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert value(Mrr(), weights=[0.0, 2.0, 0.0]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_ndcg_is_that_of_scikit_learn(k):
    rng = np.random.default_rng(0)
    true, given = rng.integers(0, 4, (30, 8)), rng.normal(size=(30, 8))
    told = [[{"scores": row.tolist()} for row in side] for side in (given, true)]
    assert value(Ndcg(k=k), *told) == pytest.approx(ndcg_score(true, given, k=k))


def test_equal_scores_do_not_help():
    flat = [{"scores": [0.5] * len(one["scores"])} for one in GOLD]
    assert value(RecallAtK(k=2), flat) == 0.0
    assert value(Mrr(), flat) == pytest.approx((1 / 3 + 1 / 3 + 1 / 4) / 3)


def test_scores_that_do_not_fit_the_passages():
    with pytest.raises(DataError, match="query 1: there are 2 scores for 3 passages"):
        RecallAtK().read([GIVEN[0], {"scores": [1, 2]}], GOLD[:2])
    with pytest.raises(DataError, match="1 answers for 3 queries"):
        Mrr().read(GIVEN[:1], GOLD)


def test_a_report_shows_where_the_first_relevant_one_stands_and_the_worst():
    inputs = [{"query": f"q{k}", "passages": [f"p{k}{j}" for j in range(len(g["scores"]))]} for k, g in enumerate(GOLD)]
    told = details(inputs, GIVEN, GOLD, 5)
    assert told["places"] == [{"place": 1, "rows": 2}, {"place": 3, "rows": 1}]
    assert told["worst"] == [{"row": 1, "place": 3, "query": "q1", "given": "p10", "gold": "p12"}]
    assert told["candidates"] == 4.0
