"""Labels, and answers with one label."""

from __future__ import annotations

import math
import shlex

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from danlu.blocks import labels
from danlu.contracts import Batch
from danlu.core import document
from danlu.core.errors import DataError

SCORES = st.lists(st.floats(-50, 50), min_size=2, max_size=6)


def column(values: list, kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"y": pa.array(values, kind)})


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["b", "a", "b"], ("a", "b")),
        ([10, 9, 1], ("1", "9", "10")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        ([True, False, True], ("false", "true")),
        ([1.0, 2.0, 1.0], ("1", "2")),
    ],
)
def test_labels_are_strings_in_order(values, found) -> None:
    assert labels.list_labels(column(values), "y", "text_classification") == found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", None, "b", ""], "row 2: 2 rows have no label in the column 'y', this one first"),
        ([1.0, math.nan, 2.0], "1 row has no label"),
        (["a", "a"], "nothing to tell apart: the column 'y' has only 'a'"),
        ([], "nothing to tell apart: the column 'y' has no row"),
        ([0.5, 1.0, 2.5], r"holds numbers on a scale, such as 0\.5"),
        (
            [str(k) for k in range(50)],
            r"(?s)too many labels: .*50 different values in 50 rows.*data\.task\.text_classification\.label=<column>",
        ),
        ([["a"], ["b"]], r"holds list<.*>, not labels"),
        ([b"a", b"b"], "holds binary, not labels"),
    ],
)
def test_a_column_that_holds_no_labels(values, message) -> None:
    kind = pa.string() if values == [] else None
    with pytest.raises(DataError, match=message):
        labels.list_labels(column(values, kind), "y", "text_classification")


def test_columns_left_open_are_found_and_missing_ones_told() -> None:
    texts = [f"this is the text of row number {k} of them" for k in range(20)]
    table = pa.table({"id": list(range(20)), "comment": texts, "stars": [1, 5] * 10})
    assert labels.find_columns(table, "text_classification", text=None, label=None) == ["comment", "stars"]
    assert labels.find_columns(table, "text_classification", text="comment", label=None) == ["comment", "stars"]
    told = r"(?s)no column 'text'; the columns are: id, comment, stars.*data\.task\.text_classification\.text=comment$"
    with pytest.raises(DataError, match=told):
        labels.find_columns(table, "text_classification", text="text", label=None)
    with pytest.raises(DataError, match=r"(?s)no column was found for the image.*id, comment, stars.*not used"):
        labels.find_columns(table, "image_classification", image=None, label=None)


@pytest.mark.parametrize("name", ["comment", "my text: \"it's", "label=[b]", "true", "1", "文本"])
def test_the_override_for_a_missing_column_can_be_pasted(name) -> None:
    texts = [f"this is the text of row number {k} of them" for k in range(20)]
    table = pa.table({name: texts, "stars": [1, 5] * 10})
    with pytest.raises(DataError, match="there is no column 'nope'") as caught:
        labels.find_columns(table, "text_classification", text="nope", label="stars")
    (pasted,) = shlex.split(caught.value.do)
    path, _, written = pasted.partition("=")
    assert (path, document.parse(written, "override")) == ("data.task.text_classification.text", name)


def test_nothing_is_proposed_where_no_column_fits() -> None:
    with pytest.raises(DataError, match=r"data\.task\.text_classification\.text=<column>"):
        labels.find_columns(pa.table({"y": [1, 5] * 10}), "text_classification", text="nope", label="y")


def test_a_target_is_the_place_of_the_label() -> None:
    assert labels.target(2, ("1", "2"))["label"] == 1
    with pytest.raises(DataError, match="the label 'c' is in no training row"):
        labels.target("c", ("a", "b"))
    with pytest.raises(DataError, match="a row has no label"):
        labels.target(None, ("a", "b"))


@given(SCORES)
def test_scores_are_a_distribution(logits) -> None:
    names = tuple(map(str, range(len(logits))))
    answer = labels.answer({"logits": np.array(logits, np.float32)}, names)
    assert math.isclose(sum(answer["scores"].values()), 1, abs_tol=1e-12)
    assert answer["confidence"] == max(answer["scores"].values()) == answer["scores"][answer["label"]]
    assert labels.distance(answer, answer) == 0


@given(SCORES, SCORES)
def test_a_distance_is_between_0_and_1_and_symmetric(first, second) -> None:
    a = labels.answer({"logits": np.array(first)}, tuple(map(str, range(len(first)))))
    b = labels.answer({"logits": np.array(second)}, tuple(map(str, range(len(second)))))
    assert 0 <= labels.distance(a, b) <= 1 + 1e-12
    assert labels.distance(a, b) == labels.distance(b, a)
    assert labels.distance(labels.certain("x", ("x", "y")), labels.certain("y", ("x", "y"))) == 1


def test_scores_that_are_no_numbers_are_an_error() -> None:
    for logits in ([math.nan, 0.0], [math.inf, 0.0]):
        with np.errstate(invalid="ignore"), pytest.raises(DataError, match="scores are not finite numbers"):
            labels.answer({"logits": np.array(logits)}, ("a", "b"))


def test_the_loss_is_the_cross_entropy_of_every_example() -> None:
    logits, truth = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    loss = labels.cross_entropy({"logits": logits}, Batch({}, {"label": truth}, torch.ones(5)))
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(logits, truth, reduction="none"))


def test_an_answer_fits_its_schema() -> None:
    import jsonschema

    answer = labels.answer({"logits": np.array([1.0, 2.0])}, ("a", "b"))
    jsonschema.validate(answer, labels.answer_schema(("a", "b")))
    with pytest.raises(jsonschema.ValidationError, match="'c'"):
        jsonschema.validate(answer | {"label": "c"}, labels.answer_schema(("a", "b")))
