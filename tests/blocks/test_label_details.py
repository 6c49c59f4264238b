import pytest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score, roc_curve

from danlu.blocks.label_details import calibration, details, worst

LABELS = ("no", "yes")


def answer(yes):
    label = LABELS[yes > 0.5]
    return {"label": label, "confidence": max(yes, 1 - yes), "scores": {"no": 1 - yes, "yes": yes}}


SCORES = [0.95, 0.9, 0.8, 0.7, 0.65, 0.6, 0.4, 0.35, 0.2, 0.1]
TRUTH = [1, 1, 0, 1, 1, 0, 1, 0, 0, 0]
ANSWERS = [answer(s) for s in SCORES]
GOLD = [{"label": LABELS[t]} for t in TRUTH]


def test_each_label_equals_scikit_learn():
    rows = details(ANSWERS, GOLD, {"no": 40, "yes": 60})["labels"]
    given = [s > 0.5 for s in SCORES]
    theirs = precision_recall_fscore_support(TRUTH, given)
    for k, row in enumerate(rows):
        assert [row["precision"], row["recall"], row["f1"]] == pytest.approx([theirs[m][k] for m in range(3)])
        assert (row["rows"], row["trained"]) == (5, (40, 60)[k])
        assert row["roc_auc"] == pytest.approx(roc_auc_score(TRUTH, SCORES))


def test_the_curve_equals_scikit_learn():
    curve = details(ANSWERS, GOLD, {})["roc"]["yes"]
    false, true, _ = roc_curve(TRUTH, SCORES, drop_intermediate=False)
    assert curve["false"] == pytest.approx(list(false), abs=1e-5)
    assert curve["true"] == pytest.approx(list(true), abs=1e-5)


def test_a_long_curve_is_thinned_from_corner_to_corner():
    answers = [answer(k / 1000) for k in range(1000)]
    curve = details(answers, [{"label": LABELS[k % 2]} for k in range(1000)], {})["roc"]["yes"]
    assert len(curve["true"]) == 200
    assert (curve["false"][0], curve["true"][0], curve["false"][-1], curve["true"][-1]) == (0, 0, 1, 1)


def test_calibration_is_the_mean_distance_of_confidence_and_truth():
    answers = [answer(0.8)] * 10 + [answer(1.0)] * 10
    gold = [{"label": "yes"}] * 6 + [{"label": "no"}] * 4 + [{"label": "yes"}] * 10
    told = calibration(answers, gold)
    assert told["error"] == pytest.approx((10 * 0.2 + 0) / 20)
    assert [(b["rows"], b["confidence"], b["right"]) for b in told["bins"]] == [(10, 0.8, 0.6), (10, 1.0, 1.0)]


def test_the_worst_are_the_surest_mistakes():
    found = worst(ANSWERS, GOLD, 2)
    assert [row["row"] for row in found] == [2, 5]
    assert found[0] == {"row": 2, "gold": "no", "label": "yes", "confidence": 0.8, "gold_score": pytest.approx(0.2)}
    assert len(worst(ANSWERS, GOLD, 20)) == 3


SEVERAL = [
    {"labels": ["a"], "scores": {"a": 0.9, "b": 0.1}},
    {"labels": ["a", "b"], "scores": {"a": 0.7, "b": 0.6}},
    {"labels": [], "scores": {"a": 0.2, "b": 0.05}},
]
TRUE = [{"labels": ["a"]}, {"labels": ["b"]}, {"labels": ["b"]}]


def test_of_several_labels_the_surest_one_that_is_wrong_counts():
    found = worst(SEVERAL, TRUE, 5)
    assert [(row["row"], row["gold"], row["label"], round(row["confidence"], 3)) for row in found] == [
        (2, "b", "none", 0.95),
        (1, "b", "a, b", 0.7),
    ]


def test_each_of_several_labels_is_calibrated_by_itself():
    bins = details(SEVERAL, TRUE, {})["calibration"]["bins"]
    assert sum(one["rows"] for one in bins) == 6
    low = next(one for one in bins if one["low"] == 0.0)
    assert (low["rows"], low["right"]) == (1, 1.0), "b of the last row: 5 % sure, and true"
