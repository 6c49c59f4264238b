"""Labels that were never trained; the other guards are tested where they stand, in the loop."""

import pytest
import torch

from danlu.core.errors import DataError
from danlu.training.guards import check_labels_seen, digest


def answers(*labels):
    return [({"label": label}, 1) for label in labels]


def test_a_label_never_trained_is_told_with_its_rows():
    with pytest.raises(
        DataError, match=r"test: 2 labels of the test set are in no training row.*'odd' \(2 rows\), 'new' \(1"
    ):
        check_labels_seen(answers("good", "bad"), [*answers("good", "new"), ({"label": "odd"}, 2)], split="test")


def test_known_labels_rows_without_one_and_other_answers_pass():
    check_labels_seen(answers("good", "bad"), [({"label": "bad"}, 1), (None, 1)], split="test")
    check_labels_seen([({"labels": ["a", "b"]}, 1)], [({"labels": ["b"]}, 1), ({"labels": []}, 1)], split="test")
    check_labels_seen([("a text", 1)], [("another", 1), (3, 1)], split="test")


def test_several_labels_a_row_are_looked_at_one_by_one():
    with pytest.raises(DataError, match="1 labels of the validation set"):
        check_labels_seen([({"labels": ["a", "b"]}, 1)], [({"labels": ["b", "c"]}, 1)], split="validation")


def test_a_digest_sees_one_changed_bit_of_any_type():
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.bool):
        tensor = torch.zeros(3, 4, dtype=dtype)
        before = digest({"a": tensor, "scalar": tensor[0, 0], "turned": tensor.t()})
        tensor[0, 0] = 1
        after = digest({"a": tensor, "scalar": tensor[0, 0], "turned": tensor.t()})
        assert all(before[name] != after[name] for name in before)
