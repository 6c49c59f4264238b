import numpy as np
import pytest

from danlu.blocks.parity import agreement
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.plugins.tasks.text_multilabel_classification import TextMultilabelClassification

TASK = TextClassification(text="t", label="l", labels=("no", "yes"))


def answer(yes):
    return {
        "label": "yes" if yes > 0.5 else "no",
        "confidence": max(yes, 1 - yes),
        "scores": {"no": 1 - yes, "yes": yes},
    }


def test_distances_changes_and_the_worst_rows():
    before = [answer(p) for p in (0.9, 0.6, 0.2, 0.1)]
    after = [answer(p) for p in (0.9, 0.4, 0.3, 0.1)]
    found = agreement(TASK, before, after)
    assert found.distances == pytest.approx([0, 0.2, 0.1, 0])
    assert found.changed.tolist() == [False, True, False, False]
    assert found.greatest == pytest.approx(0.2)
    assert found.p99 == pytest.approx(np.percentile([0, 0.2, 0.1, 0], 99))
    assert found.per_label() == {"no": {"rows": 2, "changed": 0}, "yes": {"rows": 2, "changed": 1}}
    assert [(row["row"], row["before"], row["after"]) for row in found.worst()] == [(1, "yes", "no"), (2, "no", "no")]
    assert found.plain()["changed_share"] == 0.25


@pytest.mark.parametrize(("gap", "changed"), [(4e-7, False), (4e-6, True)])
def test_a_tie_may_be_broken_either_way(gap, changed):
    found = agreement(TASK, [answer(0.5 + gap)], [answer(0.5 - 1e-9)])
    assert bool(found.changed[0]) is changed


def test_answers_that_are_no_labels_change_when_another_one_is_nearer():
    class Plain:
        def distance(self, a, b):
            return float(a != b) if isinstance(a, str) else min(1.0, abs(a - b))

    assert agreement(Plain(), ["a", "b"], ["a", "c"]).changed.tolist() == [False, True]
    found = agreement(Plain(), [1.0, 1.0, 1.0], [1.0, 1.0000001, 1.9])
    assert found.changed.tolist() == [False, False, True]
    assert found.greatest == pytest.approx(0.9)


def test_an_answer_that_is_no_number_is_no_agreement():
    broken = answer(0.9) | {"scores": {"no": float("nan"), "yes": 0.9}}
    assert np.isnan(agreement(TASK, [answer(0.9)], [broken]).greatest)


def test_of_several_labels_one_that_moves_is_a_change_unless_it_stands_at_the_threshold():
    task = TextMultilabelClassification(labels=("x", "y"))

    def told(x, y):
        return {"labels": [n for n, score in (("x", x), ("y", y)) if score >= 0.5], "scores": {"x": x, "y": y}}

    before = [told(0.9, 0.2), told(0.9, 0.5), told(0.9, 0.5), told(0.9, 0.2)]
    after = [told(0.8, 0.3), told(0.9, 0.5 - 1e-8), told(0.9, 0.4), told(0.4, 0.2)]
    found = agreement(task, before, after)
    assert found.changed.tolist() == [False, False, True, True]
    assert found.distances.tolist() == pytest.approx([0.1, 1e-8, 0.1, 0.5])


def test_a_number_that_moves_a_little_is_no_changed_decision():
    class Number:
        def distance(self, a, b):
            return abs(a["stars"] - b["stars"])

    found = agreement(Number(), [{"stars": 1.0}], [{"stars": 1.25}])
    assert (found.greatest, found.changed.tolist(), found.per_label()) == (0.25, [False], {})
